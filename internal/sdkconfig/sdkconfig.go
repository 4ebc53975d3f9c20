// Package sdkconfig is the cluster configuration that SDKs read (wire.md 5): built from an Assignment for those who serve
// it, parsed for our own client. The same JSON is answered over the KV protocol, pushed to connections, and served over
// HTTP.
//
// It has two forms. The bucket form says where the vBuckets of one bucket are; the global form, for connections without a
// bucket, only which nodes there are. Who serves a form keeps its bytes: within one revision there is exactly one content.
//
// Everything here is pure and may be called from any goroutine. Read build.go first, then parse.go.
package sdkconfig
