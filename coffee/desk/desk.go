// Package desk is where one asks about orders: it describes and lists them, reads their
// histories, says why they wait, and lets their time pass.
//
// Nothing here trusts the server or other clients. No list and no history is read without
// end, text that others wrote is cut to size, and what cannot be read of one order stops
// no other.
package desk

import (
	"context"

	"go.temporal.io/sdk/client"

	"example.com/coffee/coffee"
)

// Client does what a [coffee.Client] does, and answers questions about orders.
type Client struct{ *coffee.Client }

// NewClient returns a client for the orders in a namespace, as [coffee.NewClient] does.
func NewClient(c client.Client, namespace string) *Client {
	return &Client{coffee.NewClient(c, namespace)}
}

// Result is like [coffee.Client.Result]. If there is a result that cannot be decrypted here, it
// also returns what the server knows: the id and, mostly, the status.
func (c *Client) Result(ctx context.Context, orderID string) (coffee.OrderResult, error) {
	result, err := c.Client.Result(ctx, orderID)
	if !coffee.IsUnreadable(err) {
		return result, err
	}
	result.OrderID = orderID
	if described, lookupErr := c.Lookup(ctx, orderID, ""); lookupErr == nil {
		result.Status = viewOf(described.GetWorkflowExecutionInfo()).Status
	}
	return result, err
}
