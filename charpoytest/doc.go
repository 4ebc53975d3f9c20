// Package charpoytest starts a Charpoy server inside a Go test, in some milliseconds, and gives the test powers over it that no
// client has: to let time pass, to make operations fail, to go back to an earlier state of all documents, to kill and stall the
// node, and to see what the client really sent.
//
//	func TestCart(t *testing.T) {
//		c := charpoytest.Start(t)
//		cluster, err := gocb.Connect(c.ConnStr(), gocb.ClusterOptions{Username: c.Username(), Password: c.Password()})
//		…
//		c.Inject(charpoytest.Rule{Op: "upsert", Status: charpoytest.TempFail, Times: 2})
//		c.Advance(24 * time.Hour)
//	}
//
// It is the server's own code on real loopback sockets, not a mock: every port, every status and every limit is that of the
// product. Any client can be used; this package depends on none.
//
// # What a test gets
//
// Start returns when a read and a write have succeeded. Every Cluster has free ports, its own clock and no state outside itself:
// tests may run in parallel, with many servers in one process. At the end of the test the cluster is closed, and the test fails
// if that went wrong or left goroutines of the server behind. If the test has failed, and only then, the last 200 operations of
// clients and the end of the server's log are printed.
//
// # What it cannot do
//
// Time-outs and back-offs inside a client library follow the machine's clock: Advance does not move them. An absolute expiry
// (more than 30 days) is worked out by the client with its own clock. With Memory and MemoryDisk nothing is ever synced to a
// disk, so that a durable write costs nothing; TempDir syncs, but Kill is the end of a process, not of the power. A cluster has
// one node in this version, scopes and collections cannot be made, and there are no views.
//
// # Rules
//
// Methods fail the test by Fatal, so they must be called from its goroutine; those that take a testing.TB fail that one, the
// others the one that the cluster was started with. The names in this package follow semantic versioning from its first
// release on. Read charpoytest.go first, then faults.go.
package charpoytest
