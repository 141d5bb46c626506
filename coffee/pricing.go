package coffee

import (
	"fmt"
	"strings"
	"time"

	"example.com/coffee/internal/text"
)

// Cents is an amount of money in hundredths of a dollar.
type Cents int64

// String formats the amount in dollars, for example "$5.25".
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s$%d.%02d", sign, c/100, c%100)
}

// PricingStrategy computes the price of an order.
//
// The workflow calls it, so it must be deterministic: the price depends on nothing
// but the order and the workflow's time.
type PricingStrategy interface {
	// Name is the strategy's name in the worker's --pricing flag. It is recorded
	// with each order that the strategy prices.
	Name() string
	// Price returns what the order costs when it is accepted at the given time.
	Price(order OrderRequest, at time.Time) Cents
}

// PricingStrategies returns the strategies that a worker can use, the default
// first.
func PricingStrategies() []PricingStrategy {
	return []PricingStrategy{
		StandardPricing{},
		HappyHourPricing{Regular: StandardPricing{}, FromHour: 15, ToHour: 17, PercentOff: 20},
	}
}

// PricingByName returns the strategy with this name. The error for an unknown name
// lists the known ones.
func PricingByName(name string) (PricingStrategy, error) {
	var names []string
	for _, strategy := range PricingStrategies() {
		if strategy.Name() == name {
			return strategy, nil
		}
		names = append(names, strategy.Name())
	}
	return nil, fmt.Errorf("no such pricing strategy: %s; choose one of %s", text.Quote(name), strings.Join(names, ", "))
}

// StandardPricing charges by size, plus a surcharge for drinks with a lot of milk.
type StandardPricing struct{}

// Name implements [PricingStrategy].
func (StandardPricing) Name() string { return "standard" }

// Price implements [PricingStrategy].
func (StandardPricing) Price(order OrderRequest, _ time.Time) Cents {
	price := map[Size]Cents{SizeS: 300, SizeM: 450, SizeL: 600}[order.Size]
	drink := strings.ToLower(string(order.Drink))
	if strings.Contains(drink, "latte") || strings.Contains(drink, "mocha") {
		price += 75
	}
	return price
}

// HappyHourPricing discounts another strategy's price at certain hours of the day.
// It uses the workflow's time, so that computing the price again the next morning
// gives the same result.
type HappyHourPricing struct {
	// Regular computes the price before the discount.
	Regular PricingStrategy
	// FromHour and ToHour are hours of the day in UTC, 0 to 24. Happy hour begins
	// with FromHour and ends just before ToHour.
	FromHour, ToHour int
	// PercentOff is the discount in percent, 0 to 100. A fraction of a cent is
	// rounded in the customer's favour.
	PercentOff int
}

// Name implements [PricingStrategy].
func (HappyHourPricing) Name() string { return "happy-hour" }

// Price implements [PricingStrategy].
func (h HappyHourPricing) Price(order OrderRequest, at time.Time) Cents {
	price := h.Regular.Price(order, at)
	if hour := at.UTC().Hour(); hour < h.FromHour || hour >= h.ToHour {
		return price
	}
	return price * Cents(100-h.PercentOff) / 100
}
