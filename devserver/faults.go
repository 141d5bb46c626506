//go:build !noserver

package devserver

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

// storageFaults returns the configuration of Temporal's own fault injection; nil if the
// seed is 0. Up to one call in thirty fails. After ExecuteAndTimeout it was done all the
// same.
func storageFaults(seed uint64) *config.FaultInjection {
	if seed == 0 {
		return nil
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
	return faults
}
