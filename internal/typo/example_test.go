package typo_test

import (
	"fmt"

	"example.com/coffee/internal/typo"
)

func ExampleNearest() {
	fmt.Println(typo.Nearest("ordr", []string{"server", "worker", "order"}))
	fmt.Println(typo.Nearest("tea", []string{"server", "worker", "order"}))
	// Output:
	// order true
	//  false
}
