package coffee_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"example.com/coffee/coffee"
)

// TestDefaultServices: the default settings, with which order 123 jams on its first
// attempt only.
func TestDefaultServices(t *testing.T) {
	t.Parallel()
	want := coffee.ServiceConfig{
		ChargeTime: 500 * time.Millisecond, BrewTime: time.Second, ReceiptTime: 300 * time.Millisecond,
		BrewFailureRate: 0.3, Seed: 3,
	}
	if got := coffee.DefaultServiceConfig(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		machine := coffee.NewServiceFactory(coffee.DefaultServiceConfig(), nil, zerolog.Nop()).Brew()
		for attempt, want := range map[int]error{1: coffee.ErrJammed, 2: nil} {
			began := time.Now() // by the bubble's clock
			if err := machine.Brew(t.Context(), latte, attempt); !errors.Is(err, want) {
				t.Errorf("attempt %d: got %v, want %v", attempt, err, want)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("attempt %d took %v", attempt, took)
			}
		}
	})
}

// TestServiceConfigValidate: a step as long as an attempt's timeout would never
// succeed, and a rate is from 0 to 1.
func TestServiceConfigValidate(t *testing.T) {
	t.Parallel()
	const long = 10*time.Second - 1 // just shorter than the timeout
	for name, test := range map[string]struct {
		config coffee.ServiceConfig
		valid  bool
	}{
		"zero":             {coffee.ServiceConfig{}, true},
		"default":          {coffee.DefaultServiceConfig(), true},
		"longest":          {coffee.ServiceConfig{ChargeTime: long, BrewTime: long, ReceiptTime: long, BrewFailureRate: 1}, true},
		"charge too long":  {coffee.ServiceConfig{ChargeTime: 10 * time.Second}, false},
		"brew too long":    {coffee.ServiceConfig{BrewTime: 10 * time.Second}, false},
		"receipt too long": {coffee.ServiceConfig{ReceiptTime: 10 * time.Second}, false},
		"negative time":    {coffee.ServiceConfig{BrewTime: -1}, false},
		"failures below 0": {coffee.ServiceConfig{BrewFailureRate: -0.1}, false},
		"failures above 1": {coffee.ServiceConfig{BrewFailureRate: 1.1}, false},
		"failures NaN":     {coffee.ServiceConfig{BrewFailureRate: math.NaN()}, false},
	} {
		if err := test.config.Validate(); (err == nil) != test.valid {
			t.Errorf("%s: got %v, want valid to be %v", name, err, test.valid)
		}
	}
}
