//go:build !unix

package devserver

// notThroughLinks is nothing here: who can make links in a directory can do
// anything else in it as well.
const notThroughLinks = 0
