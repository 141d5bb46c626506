package coffee_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/ledger"
)

// An order runs in the SDK's test environment, which needs no server and skips time.
// Its brew machine jams until the last of the five attempts.
func Example() {
	money, err := ledger.OpenMemory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer money.Close()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: coffee.WorkflowID("123"), TaskQueue: coffee.TaskQueue})
	(&coffee.OrderWorkflow{Pricing: coffee.StandardPricing{}}).Register(env)
	services := coffee.NewServiceFactory(coffee.ServiceConfig{BrewFailureRate: 0.7, Seed: 11}, money, zerolog.Nop())
	coffee.NewActivities(services).Register(env)

	began := env.Now()
	env.ExecuteWorkflow(coffee.WorkflowType, coffee.OrderRequest{OrderID: "123", Drink: "latte", Size: coffee.SizeM})
	var result coffee.OrderResult
	if err := env.GetWorkflowResult(&result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.AmountCents, "after", env.Now().Sub(began).Round(time.Second))
	// Output:
	// COMPLETED $5.25 after 15s
}

// A client asks a Temporal server, and a worker must be running somewhere.
func ExampleClient() {
	temporal, err := client.Dial(client.Options{HostPort: "localhost:7233", Namespace: "default"})
	if err != nil {
		log.Fatal(err)
	}
	defer temporal.Close()
	orders := coffee.NewClient(temporal, "default")
	ctx := context.Background()
	placed, err := orders.Place(ctx, coffee.OrderRequest{OrderID: coffee.NewOrderID(), Drink: "mocha", Size: coffee.SizeL})
	if err != nil {
		log.Fatal(err)
	}
	result, err := orders.Result(ctx, placed.Order.OrderID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status)
}

func ExampleParseDrink() {
	drink, err := coffee.ParseDrink("Flat-White")
	fmt.Println(drink, err)
	_, err = coffee.ParseDrink("lattee")
	problem, _, _ := strings.Cut(err.Error(), " The menu: ")
	fmt.Println(problem)
	// Output:
	// flat-white <nil>
	// no such drink: "lattee"; did you mean latte?
}

func ExamplePricingByName() {
	happyHour, err := coffee.PricingByName("happy-hour")
	if err != nil {
		log.Fatal(err)
	}
	latte := coffee.OrderRequest{OrderID: "123", Drink: "latte", Size: coffee.SizeM}
	fmt.Println(happyHour.Price(latte, time.Date(2026, 11, 24, 14, 59, 0, 0, time.UTC)))
	fmt.Println(happyHour.Price(latte, time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)))
	// Output:
	// $5.25
	// $4.20
}
