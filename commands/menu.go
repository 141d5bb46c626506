package commands

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"example.com/coffee/coffee"
)

func menuCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "menu",
		Usage: "show the drinks and what they cost",
		Flags: []cli.Flag{
			outputFlag(),
			&cli.StringFlag{Name: "pricing", Usage: "`NAME` of the pricing strategy", Value: coffee.StandardPricing{}.Name()},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			pricing, err := coffee.PricingByName(c.String("pricing"))
			if err != nil {
				return usageErrorf(c, "%v", err)
			}
			return showMenu(a.out, pricing, asJSON)
		},
	}
}

func showMenu(out *output, pricing coffee.PricingStrategy, asJSON bool) error {
	type item struct {
		Drink      coffee.Drink                 `json:"drink"`
		PriceCents map[coffee.Size]coffee.Cents `json:"price_cents"`
	}
	var menu []item
	for _, drink := range coffee.Menu() {
		prices := map[coffee.Size]coffee.Cents{}
		for _, size := range []coffee.Size{coffee.SizeS, coffee.SizeM, coffee.SizeL} {
			prices[size] = pricing.Price(coffee.OrderRequest{Drink: drink, Size: size}, time.Now())
		}
		menu = append(menu, item{drink, prices})
	}
	if asJSON {
		return out.json(menu)
	}
	table := tabwriter.NewWriter(out.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DRINK\tS\tM\tL")
	for _, item := range menu {
		p := item.PriceCents
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", item.Drink, p[coffee.SizeS], p[coffee.SizeM], p[coffee.SizeL])
	}
	return table.Flush()
}
