package commands

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
	"example.com/coffee/commands/internal/app"
	"example.com/coffee/commands/internal/commandline"
)

func menuCommand(a *app.App) *cli.Command {
	return &cli.Command{
		Name:  "menu",
		Usage: "show the drinks and what they cost",
		Flags: []cli.Flag{
			commandline.OutputFlag(),
			&cli.StringFlag{Name: "pricing", Usage: "`NAME` of the pricing strategy", Value: coffee.StandardPricing{}.Name()},
		},
		Action: run(a, parseMenu, runMenu),
	}
}

type menuPlan struct {
	pricing coffee.PricingStrategy
	asJSON  bool
}

func parseMenu(c *cli.Context) (plan menuPlan, err error) {
	plan.asJSON = commandline.WantsJSON(c)
	if plan.pricing, err = coffee.PricingByName(c.String("pricing")); err != nil {
		return plan, commandline.Errorf(c, "%v", err)
	}
	return plan, nil
}

func runMenu(_ context.Context, a *app.App, plan menuPlan) error {
	type item struct {
		Drink      coffee.Drink                 `json:"drink"`
		PriceCents map[coffee.Size]coffee.Cents `json:"price_cents"`
	}
	var menu []item
	for _, drink := range coffee.Menu() {
		prices := map[coffee.Size]coffee.Cents{}
		for _, size := range []coffee.Size{coffee.SizeS, coffee.SizeM, coffee.SizeL} {
			prices[size] = plan.pricing.Price(coffee.OrderRequest{Drink: drink, Size: size}, time.Now())
		}
		menu = append(menu, item{drink, prices})
	}
	if plan.asJSON {
		return a.Out.Json(menu)
	}
	table := tabwriter.NewWriter(a.Out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DRINK\tS\tM\tL")
	for _, item := range menu {
		p := item.PriceCents
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", item.Drink, p[coffee.SizeS], p[coffee.SizeM], p[coffee.SizeL])
	}
	return table.Flush()
}
