package devserver

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/resolver"

	"example.com/coffee/devserver/internal/store"
)

// openTemporal opens a database with Temporal's plugin, by its name and the plugin's
// attributes. Temporal keeps it open for the life of the process.
func openTemporal(t *testing.T, name string, attributes map[string]string) sqlplugin.DB {
	t.Helper()
	conf := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: name, ConnectAttributes: attributes}
	db, err := persistencesql.NewSQLDB(sqlplugin.DbKindMain, conf, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestAgainstTemporal calls random methods on our tables and on those of
// Temporal's plugin, and compares the results.
func TestAgainstTemporal(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ours, err := store.Open(ctx, "test-"+uuid.NewString(), "file:test?mode=memory&_time_format=sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ours.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	if err := ours.Setup(ctx, func(tx *sql.Tx) error { return setupSchema(ctx, tx) }); err != nil {
		t.Fatal(err)
	}
	compareStores(t, ours, openTemporal(t, "test-"+uuid.NewString(), map[string]string{"mode": "memory", "cache": "shared"}))
}

// visibilityMethods are those of the visibility table that do not take a query.
var visibilityMethods = []string{"InsertIntoVisibility", "ReplaceIntoVisibility", "GetFromVisibility", "DeleteFromVisibility"}

// allVariable names the environment variable with which the tests of the server leave
// nothing to chance: they try everything of which they try a sample otherwise.
const allVariable = "DEVSERVER_TEST_ALL"

// sample returns how often a test does something: all times if [allVariable] is set, and
// some otherwise.
func sample(some, all int) int {
	if os.Getenv(allVariable) != "" {
		return all
	}
	return some
}

// compareStores calls random methods of a store and of Temporal's, which have the same
// content, and compares the results. It goes on until each method but the idle ones has
// done or found something. ours uses one connection for everything.
func compareStores(t *testing.T, ours, theirs sqlplugin.DB, idle ...string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var names []string
	for method := range reflect.TypeFor[sqlplugin.TableCRUD]().Methods() {
		if _, ok := reflect.TypeFor[sqlplugin.Visibility]().MethodByName(method.Name); !ok {
			names = append(names, method.Name)
		}
	}
	ctx := context.Background()
	missing := map[string]bool{} // methods that have found nothing yet
	for _, name := range names {
		missing[name] = true
	}
	for _, name := range idle {
		delete(missing, name)
	}
	for n := 0; n < sample(3_000, 15_000) || n < 150_000 && len(missing) > 0; n++ { // some methods take luck
		// Both get arguments of their own, which they may change.
		name := names[random.IntN(len(names))]
		method, _ := reflect.TypeFor[sqlplugin.TableCRUD]().MethodByName(name)
		state := random.Uint64()
		generate := func() []reflect.Value { return randomArguments(rand.New(rand.NewPCG(state, 1)), method.Type) }
		a, aErr := inTransaction(ctx, t, ours, name, generate())
		b, bErr := inTransaction(ctx, t, theirs, name, generate())
		if (aErr == nil) != (bErr == nil) || ours.IsDupEntryError(aErr) != theirs.IsDupEntryError(bErr) || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s(%+v):\n%v, %v; and Temporal's:\n%v, %v", name, describe(generate()), a, aErr, b, bErr)
		}
		if aErr == nil && a != "[0]" && a != "[[]]" {
			delete(missing, name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("these methods have never found anything: %v", slices.Sorted(maps.Keys(missing)))
	}

	// The visibility table is not written to in transactions.
	for i := range 1_000 {
		name := visibilityMethods[random.IntN(len(visibilityMethods))]
		if i == 999 {
			name = "InsertIntoVisibility" // lest the table be empty in the end
		}
		method, _ := reflect.TypeFor[sqlplugin.TableCRUD]().MethodByName(name)
		state := random.Uint64()
		generate := func() []reflect.Value { return randomArguments(rand.New(rand.NewPCG(state, 1)), method.Type) }
		a, aErr := callMethod(ctx, ours, name, generate())
		b, bErr := callMethod(ctx, theirs, name, generate())
		if (aErr == nil) != (bErr == nil) || a != b {
			t.Fatalf("%s(%+v):\n%v, %v; and Temporal's:\n%v, %v", name, describe(generate()), a, aErr, b, bErr)
		}
	}
	query := sqlplugin.VisibilitySelectFilter{Query: `SELECT ` + strings.Join(sqlplugin.DbFields, ", ") + ` FROM executions_visibility ORDER BY namespace_id, run_id`}
	a, aErr := callMethod(ctx, ours, "SelectFromVisibility", []reflect.Value{reflect.ValueOf(query)})
	b, bErr := callMethod(ctx, theirs, "SelectFromVisibility", []reflect.Value{reflect.ValueOf(query)})
	if aErr != nil || bErr != nil || a != b || a == "[[]]" {
		t.Errorf("the table has\n%v, %v; and Temporal's\n%v, %v", a, aErr, b, bErr)
	}
}

func describe(args []reflect.Value) string {
	var all []string
	for _, arg := range args {
		all = append(all, text(arg))
	}
	return strings.Join(all, ", ")
}

// inTransaction calls a method in a transaction, which it commits if there was no
// error, as the stores do.
func inTransaction(ctx context.Context, t *testing.T, db sqlplugin.DB, name string, args []reflect.Value) (string, error) {
	t.Helper()
	tx, err := db.BeginTx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := callMethod(ctx, tx, name, args)
	end := tx.Commit
	if err != nil {
		end = tx.Rollback
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return answer, err
}

// callMethod calls a method and returns its results as text.
func callMethod(ctx context.Context, on any, name string, args []reflect.Value) (string, error) {
	out := reflect.ValueOf(on).MethodByName(name).Call(append([]reflect.Value{reflect.ValueOf(ctx)}, args...))
	if err, _ := out[len(out)-1].Interface().(error); err != nil {
		return "", err
	}
	var answers []string
	for _, value := range out[:len(out)-1] {
		if result, ok := value.Interface().(sql.Result); ok {
			affected, err := result.RowsAffected()
			if err != nil {
				return "", err
			}
			answers = append(answers, fmt.Sprint(affected))
			continue
		}
		answers = append(answers, text(value))
	}
	return fmt.Sprint(answers), nil
}

// text formats a value, and what its pointers point to.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return text(v.Elem())
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return at.UTC().Format(time.RFC3339Nano)
		}
		var fields []string
		for i := range v.NumField() {
			fields = append(fields, text(v.Field(i)))
		}
		return "{" + strings.Join(fields, " ") + "}"
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		var elements []string
		for i := range v.Len() {
			elements = append(elements, text(v.Index(i)))
		}
		return "[" + strings.Join(elements, " ") + "]"
	}
	return fmt.Sprintf("%v", v.Interface())
}

// randomArguments returns arguments for a method, without the context.
func randomArguments(random *rand.Rand, method reflect.Type) (args []reflect.Value) {
	for i := range method.NumIn() - 1 {
		args = append(args, randomValue(random, method.In(i+1), ""))
	}
	return args
}

// randomValue makes rows and filters from few values, so that they match.
func randomValue(random *rand.Rand, kind reflect.Type, field string) reflect.Value {
	v := reflect.New(kind).Elem()
	switch {
	case kind == reflect.TypeFor[time.Time]():
		at := time.Date(2026, 11, 23, 12, 0, 0, random.IntN(4)*250_000_999, time.UTC)
		if random.IntN(8) == 0 {
			at = time.Time{}
		}
		return reflect.ValueOf(at)
	case kind == reflect.TypeFor[primitives.UUID]():
		return reflect.ValueOf(primitives.MustParseUUID(fmt.Sprintf("00000000-0000-0000-0000-00000000000%d", 1+random.IntN(2))))
	case kind == reflect.TypeFor[sqlplugin.MatchingTaskVersion]():
		return reflect.ValueOf(sqlplugin.MatchingTaskVersion(1 + random.IntN(2)))
	case kind == reflect.TypeFor[persistence.QueueType]():
		return reflect.ValueOf(persistence.QueueType(1)) // Temporal's plugin mixes them up
	case kind == reflect.TypeFor[sqlplugin.VisibilitySearchAttributes]():
		return reflect.ValueOf(sqlplugin.VisibilitySearchAttributes{"Keyword01": "x", "KeywordList01": []string{"a", "b"}[:1+random.IntN(2)], "Int01": random.IntN(3)})
	}
	switch kind.Kind() {
	case reflect.Struct:
		for i := range kind.NumField() {
			v.Field(i).Set(randomValue(random, kind.Field(i).Type, kind.Field(i).Name))
		}
		switch f := v.Addr().Interface().(type) {
		case *sqlplugin.HistoryNodeSelectFilter:
			f.ReverseOrder = f.ReverseOrder && !f.MetadataOnly // there is no such query
		case *sqlplugin.ClusterMembershipFilter:
			for i := range v.NumField() { // one condition of four, lest nothing match
				if random.IntN(4) > 0 {
					v.Field(i).SetZero()
				}
			}
		case *sqlplugin.TaskQueuesFilter:
			if random.IntN(2) == 0 {
				f.TaskQueueID = nil
			} else {
				f.RangeHashLessThanEqualTo, f.RangeHashGreaterThanEqualTo = 0, 0
			}
		}
	case reflect.Pointer:
		if kind.Elem().Kind() == reflect.Int || kind.Elem().Kind() == reflect.Int64 || random.IntN(4) > 0 || kind.Elem().Name() != "" && kind.Elem().Kind() == reflect.Struct && kind.Elem() != reflect.TypeFor[time.Time]() {
			v.Set(reflect.New(kind.Elem()))
			v.Elem().Set(randomValue(random, kind.Elem(), field))
		}
	case reflect.Slice:
		if kind.Elem().Kind() == reflect.Uint8 {
			if strings.Contains(field, "Data") || strings.Contains(field, "Payload") {
				v.SetBytes([]byte{byte(random.IntN(256)), 0, '\''})
			} else {
				v.SetBytes([]byte{byte(1 + random.IntN(2))}) // a key
			}
			break
		}
		n := 1 + random.IntN(3)
		for range n {
			v = reflect.Append(v, randomValue(random, kind.Elem(), field))
		}
	case reflect.String:
		v.SetString([]string{"a", "b's"}[random.IntN(2)])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		switch field {
		case "ShardID", "CategoryID":
			v.SetInt(1)
		case "MaxNodeID", "ExclusiveMaxTaskID":
			v.SetInt(int64(2 + random.IntN(5)))
		case "PageSize", "Limit":
			v.SetInt(int64(1 + random.IntN(4)))
		default:
			v.SetInt(int64(random.IntN(5)))
		}
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + random.IntN(2)))
	default:
		panic(kind)
	}
	return v
}
