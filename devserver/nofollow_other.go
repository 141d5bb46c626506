//go:build !unix

package devserver

// notThroughLinks is zero here: anyone who can make links in a directory can do
// anything else in it as well.
const notThroughLinks = 0
