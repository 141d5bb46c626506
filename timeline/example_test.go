package timeline_test

import (
	"log"
	"os"

	"example.com/coffee/timeline"
)

// A history that was saved as JSON is drawn without a server. From a server, Fetch reads it.
func ExampleNew() {
	file, err := os.Open("testdata/transfer.json")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	history, err := timeline.FromJSON(file)
	if err != nil {
		log.Fatal(err)
	}
	if err := timeline.New(history).WriteText(os.Stdout, timeline.TextOptions{Width: 100}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// transfer-7: Transfer, failed: the account is closed after 1.2 s
	//
	//                   START    LENGTH
	// withdraw          62 ms     38 ms   █                         done
	// timer             0.1 s     0.3 s    ······                   of 0.3 s: fired
	// signal            0.2 s               ▼                       hurry
	// deposit           0.4 s     0.8 s          ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒   given up after 3 attempts: the account
	//                                                               is closed
	//   attempt 1       0.4 s    ~56 ms          ▒▒                 failed
	//   backoff         0.5 s    ~0.2 s           ·····
	//   attempt 2       0.7 s    ~56 ms               ▒▒            the account is closed
	//   backoff         0.7 s    ~0.4 s                ·········
	//   attempt 3       1.1 s     53 ms                         ▒   the account is closed
	// payBack           1.2 s     33 ms                          █  done
}
