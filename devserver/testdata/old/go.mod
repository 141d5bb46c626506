// Old Temporal servers are in no other go.sum: the program here is a module of its own,
// which make completes with a version of the server.
module old

go 1.26
