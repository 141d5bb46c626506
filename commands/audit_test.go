package commands

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/audit"
	"example.com/coffee/coffee/desk"
)

// TestAuditFindsCookedBooks removes the ledger's safeguards and tampers with its
// rows. The auditor finds every change.
func TestAuditFindsCookedBooks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s := newShop(t)
	stop := s.startWorkerWith(coffee.WorkerOptions{})
	s.Place(ctx, "made")
	s.WantCompleted(ctx, "made", 525)
	stop()
	stop = s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 9 * time.Second}})
	s.Place(ctx, "undone")
	s.Await(ctx, "undone", func(view desk.OrderView) bool { return view.Stage == coffee.StageBrewing })
	s.cancelled(ctx, "undone")
	stop()
	g := newGate(s.Ledger)
	stop = s.startWorkerWith(coffee.WorkerOptions{Ledger: g})
	s.Place(ctx, "voided")
	g.wait(ctx, t)
	s.cancelled(ctx, "voided")
	close(g.open)
	stop()
	s.Place(ctx, "waiting") // no worker is running
	if got := s.Kinds(ctx, "undone") + s.Kinds(ctx, "voided"); got != "[charge refund][void]" {
		t.Fatalf("the ledger has %s", got)
	}
	s.WantNoBreach(ctx)

	const (
		noTriggers = `DROP TRIGGER ledger_entries_no_update; DROP TRIGGER ledger_entries_no_delete;
			DROP TRIGGER ledger_entries_first; DROP TRIGGER ledger_entries_refund;
			DROP TRIGGER ledger_entries_delivered; DROP TRIGGER ledger_deliveries_paid; `
		noKey = noTriggers + `CREATE TABLE other AS SELECT * FROM ledger_entries; DROP TABLE ledger_entries; ALTER TABLE other RENAME TO ledger_entries; `
		later = `'2100-01-01T00:00:00Z'`
	)
	for name, test := range map[string]struct {
		sql          string
		acknowledged []string
		want         map[string][]audit.Rule // by order
	}{
		"nothing": {},
		"the key is dropped, and a charge made twice": {
			sql:  noKey + `INSERT INTO ledger_entries SELECT * FROM ledger_entries WHERE order_id = 'made'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "made": {audit.RuleCharge, audit.RuleNet}},
		},
		"the tombstone is dropped, and a late charge made": {
			sql: noTriggers + `INSERT INTO ledger_entries SELECT order_id, 'charge', 525, run_id, recorded_at FROM ledger_entries WHERE order_id = 'voided';
				DELETE FROM ledger_entries WHERE order_id = 'voided' AND kind = 'void'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "voided": {audit.RuleUndone}},
		},
		"a charge after a void": {
			sql:  noTriggers + `INSERT INTO ledger_entries SELECT order_id, 'charge', 525, run_id, recorded_at FROM ledger_entries WHERE order_id = 'voided'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "voided": {audit.RuleUndone, audit.RuleClosed}},
		},
		"a charge after a refund": {
			sql: noTriggers + `CREATE TEMP TABLE c AS SELECT * FROM ledger_entries WHERE order_id = 'undone' AND kind = 'charge';
				DELETE FROM ledger_entries WHERE order_id = 'undone' AND kind = 'charge'; INSERT INTO ledger_entries SELECT * FROM c`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "undone": {audit.RuleClosed}},
		},
		"a refund is lost": {
			sql:  noTriggers + `DELETE FROM ledger_entries WHERE order_id = 'undone' AND kind = 'refund'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "undone": {audit.RuleUndone, audit.RuleHistory}},
		},
		"a charge is lost": {
			sql:  noTriggers + `DELETE FROM ledger_entries WHERE order_id = 'made'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "made": {audit.RuleNet, audit.RuleHistory}},
		},
		"a delivery is lost": {
			sql:  `DROP TRIGGER ledger_deliveries_no_delete; DELETE FROM ledger_deliveries WHERE order_id = 'made'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "made": {audit.RuleNet, audit.RuleHistory}},
		},
		"a charge is changed": {
			sql:  noTriggers + `UPDATE ledger_entries SET amount_cents = 524 WHERE order_id = 'made'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "made": {audit.RuleCharge, audit.RuleNet}},
		},
		"a refund is changed": {
			sql:  noTriggers + `UPDATE ledger_entries SET amount_cents = 524 WHERE order_id = 'undone' AND kind = 'refund'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "undone": {audit.RuleRefund, audit.RuleNet}},
		},
		"a refund for a coffee that was made": {
			sql:  noTriggers + `INSERT INTO ledger_entries SELECT order_id, 'refund', 525, run_id, ` + later + ` FROM ledger_entries WHERE order_id = 'made'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "made": {audit.RuleNet}},
		},
		"a coffee that was not paid": {
			sql:  noTriggers + `INSERT INTO ledger_deliveries SELECT order_id, run_id, recorded_at FROM ledger_entries WHERE order_id = 'voided'`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}, "voided": {audit.RuleNet}},
		},
		"a trigger on deliveries is dropped": {
			sql:  `DROP TRIGGER ledger_deliveries_paid`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}},
		},
		"a charge for nobody": {
			sql:  `INSERT INTO ledger_entries VALUES ('nobody', 'charge', 525, 'run', ` + later + `)`,
			want: map[string][]audit.Rule{"nobody": {audit.RuleOwner}},
		},
		"a trigger is dropped": {
			sql:  `DROP TRIGGER ledger_entries_no_delete`,
			want: map[string][]audit.Rule{"": {audit.RuleOwner}},
		},
		"acknowledged": {acknowledged: []string{"made", "undone", "voided"}},
		"acknowledged, and lost": {
			acknowledged: []string{"made", "lost"},
			want:         map[string][]audit.Rule{"lost": {audit.RuleAcknowledged}},
		},
		"acknowledged, and never ends": {
			acknowledged: []string{"waiting"},
			want:         map[string][]audit.Rule{"waiting": {audit.RuleAcknowledged}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cooked := filepath.Join(t.TempDir(), "cooked.db")
			execSQL(t, s.Book, `VACUUM INTO '`+cooked+`'`)
			execSQL(t, cooked, test.sql)
			report := s.Audit(ctx, cooked, audit.Options{Acknowledged: test.acknowledged})
			got := map[string][]audit.Rule{}
			for _, breach := range report.Breaches {
				t.Logf("rule %d, order %q: %s\n  %s", breach.Rule, breach.OrderID, breach.Problem, strings.Join(breach.Evidence, "\n  "))
				got[breach.OrderID] = append(got[breach.OrderID], breach.Rule)
			}
			for id, rules := range got {
				slices.Sort(rules)
				want := slices.Sorted(slices.Values(test.want[id]))
				if !slices.Equal(slices.Compact(rules), want) {
					t.Errorf("order %q: got rules %v, want %v", id, rules, want)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestAuditWhileOrdersRun: orders that move on during an audit are not breaches.
func TestAuditWhileOrdersRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s := newShop(t)
	s.startWorkerWith(coffee.WorkerOptions{Services: coffee.ServiceConfig{BrewTime: 20 * time.Millisecond, BrewFailureRate: 0.1}})
	var customers errgroup.Group
	customers.SetLimit(8)
	done := make(chan error, 1)
	orders := times(150, 40)
	go func() {
		for i := range orders {
			customers.Go(func() error {
				id := fmt.Sprintf("live-%d", i)
				if _, err := s.Orders.Place(ctx, coffee.OrderRequest{OrderID: id, Drink: "latte", Size: coffee.SizeM}); err != nil {
					return err
				}
				if i%3 == 0 {
					if err := s.Orders.Cancel(ctx, id, ""); err != nil && !errors.Is(err, coffee.ErrEnded) {
						return err
					}
				}
				_, err := s.Orders.Result(ctx, id)
				return err
			})
		}
		done <- customers.Wait()
	}()
	audits, running := 0, 0
	for {
		s.WantNoBreach(ctx)
		audits++
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			report := s.Audit(ctx, s.Book, audit.Options{})
			if report.Orders.Total() != orders || report.Orders.Running != 0 || report.Replayed != orders || len(report.Breaches) != 0 {
				t.Errorf("got %+v", report)
			}
			t.Logf("%d audits, %d of them with orders running", audits, running)
			return
		default:
			running++
		}
	}
}

// cancelled cancels an order and waits until it is cancelled.
func (s *shop) cancelled(ctx context.Context, id string) {
	s.T.Helper()
	if err := s.Orders.Cancel(ctx, id, ""); err != nil {
		s.T.Fatal(err)
	}
	if result, err := s.Orders.Result(ctx, id); err != nil || result.Status != coffee.StatusCancelled {
		s.T.Fatalf("got %+v, %v", result, err)
	}
}

func execSQL(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // temporary tables belong to a connection
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}
