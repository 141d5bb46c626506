package devserver

import (
	"testing"

	"go.temporal.io/server/chasm/lib/activity"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
)

// TestStartDev: what temporal server start-dev sets in its dynamic configuration is set
// here, too, or there is a reason why not.
func TestStartDev(t *testing.T) {
	t.Parallel()
	ours := dynamicConfig(Options{})
	for key, test := range map[string]struct {
		value  any
		reason string // of another value here
	}{
		"system.forceNexusEndpointRefreshOnRead":                {value: true},
		"history.enableStandaloneActivityOperatorCommands":      {value: true},
		"frontend.enableBatchOperationsForStandaloneActivities": {value: true},
		"system.forceSearchAttributesCacheRefreshOnRead":        {true, "the attributes of a namespace are in its own record, which is read again soon enough; this would read it for each workflow"},
		"history.hostLevelCacheMaxSize":                         {8096, "memory; more of them made nothing faster"},
		"frontend.namespaceRPS.visibility":                      {100, "nobody is limited here"},
		"frontend.persistenceMaxQPS":                            {10000, "nobody is limited here"},
		"history.persistenceMaxQPS":                             {45000, "nobody is limited here"},
	} {
		if got := ours.GetValue(dynamicconfig.MakeKey(key)); (len(got) == 1 && got[0].Value == test.value) != (test.reason == "") {
			t.Errorf("%s is %v; start-dev has %v; a reason: %q", key, got, test.value, test.reason)
		}
	}
	// These it sets for older versions of the server; now they are on by default.
	all := dynamicconfig.NewCollection(ours, log.NewNoopLogger())
	if !dynamicconfig.EnableChasm.Get(all)("default") || !activity.Enabled.Get(all)("default") {
		t.Error("standalone activities are off")
	}
}
