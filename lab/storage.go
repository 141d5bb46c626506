//go:build unix && !noserver

package main

import (
	"math/rand/v2"

	"go.temporal.io/server/common/config"
)

// fallible are the methods of Temporal's stores that fail if faults are injected: those
// that workflows need all the time. The errors of the others stop the server.
var fallible = map[config.DataStoreName][]string{
	config.ExecutionStoreName: {"CreateWorkflowExecution", "UpdateWorkflowExecution", "ConflictResolveWorkflowExecution",
		"GetWorkflowExecution", "GetCurrentExecution", "AppendHistoryNodes", "ReadHistoryBranch", "GetHistoryTasks", "RangeCompleteHistoryTasks"},
	config.TaskStoreName:  {"CreateTasks", "GetTasks", "UpdateTaskQueue", "CompleteTasksLessThan"},
	config.ShardStoreName: {"UpdateShard"},
}

// injectStorageFaults configures Temporal's own fault injection, unless the seed is 0. Up to
// one call in thirty fails. After ExecuteAndTimeout it was done all the same.
func injectStorageFaults(c *config.Config, seed uint64) {
	if seed == 0 {
		return
	}
	r := rand.New(rand.NewPCG(seed, 0))
	faults := &config.FaultInjection{}
	for _, store := range []config.DataStoreName{config.ExecutionStoreName, config.TaskStoreName, config.ShardStoreName} {
		for _, method := range fallible[store] {
			for _, failure := range []string{"Timeout", "ExecuteAndTimeout", "Unavailable"} {
				faults.WithError(store, method, failure, r.Float64()/90)
			}
			faults.WithMethodSeed(store, method, r.Int64N(1<<62)+1) // 0 would mean the time
		}
	}
	for name, store := range c.Persistence.DataStores {
		store.FaultInjection = faults
		c.Persistence.DataStores[name] = store
	}
}
