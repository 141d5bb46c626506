package timeline_test

import (
	"log"
	"os"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee/desk"
	"example.com/coffee/coffee/timeline"
	anytimeline "example.com/coffee/timeline"
)

// A history that was saved as JSON is drawn without a server.
func ExampleNew() {
	file, err := os.Open("../testdata/histories/completed_cancel_too_late.json")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	history, err := client.HistoryFromJSON(file, client.HistoryJSONOptions{})
	if err != nil {
		log.Fatal(err)
	}
	t := timeline.New(desk.History{OrderID: "123", Events: history.GetEvents()})
	if err := t.WriteText(os.Stdout, anytimeline.TextOptions{Width: 100}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Order 123: latte (M), $5.25, completed after 76 ms
	//
	//                   START    LENGTH
	// charge            31 ms      5 ms            ██               charged $5.25
	// brew              45 ms      6 ms                ███          brewed
	// receipt           57 ms     12 ms                    █████    sent
	// cancel            60 ms                               ▼       too late, through Temporal
	// cancel            63 ms                                ▼      too late, by signal: changed my mind
}
