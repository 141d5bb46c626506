// Package powerfailure makes SQLite's files what a power failure at a random moment
// may leave of them, to test that a program loses nothing that it has promised to
// keep.
//
// A killed process loses nothing that it has written: the system still has it. So each
// process under test calls [Record], which writes down what SQLite writes to, truncates
// and syncs. When all of them have been killed, another process calls [Fail]. It
// rebuilds each database with its write-ahead log or rollback journal: what was synced
// is there, and of what was not synced any part may be. The disk may have written it in
// any order, and the sectors of a write, of 512 bytes each, independently of each other.
//
// Fail first checks that the recordings add up to the files as they are, so a process
// that changes a database and does not record is found.
//
// Limits:
//
//   - The creation, renaming and deletion of files count as durable at once. SQLite syncs
//     the directory when it matters; that the program does so is not tested.
//   - What a sync has made durable stays as it is: no sector rots, and the disk does not
//     lie about syncs.
//   - A database that was not made through SQLite must be opened by one process before
//     others open it: the recordings begin with a copy of it.
//   - PRAGMA mmap_size must be 0, its default. Otherwise SQLite extends files in ways
//     that are not recorded, and Fail returns an error.
//   - Files are known by their inode. A program may delete a database and put a file that
//     SQLite has not made in its place, and this may get the number of the deleted one. If
//     so, Fail finds that the recordings do not add up to it.
//   - Only Unix. On other systems the package is empty.
package powerfailure
