package trace

// since is the version in which the first probes came.
const since = "1.0"

// Fields that several probes share. Each is written once, so that it means the same everywhere.
func bucket() Field { return Field{Name: "bucket", Type: TypeText, Help: "Name of the bucket."} }
func vb() Field     { return Field{Name: "vb", Type: TypeVB, Help: "vBucket id.", USDT: true} }
func opField() Field {
	return Field{Name: "op", Type: TypeEnum, Enum: "op", Help: "The operation.", USDT: true}
}

func dur(help string) Field  { return Field{Name: "dur", Type: TypeDur, Help: help, USDT: true} }
func size(help string) Field { return Field{Name: "bytes", Type: TypeBytes, Help: help, USDT: true} }

func num(name, help string) Field { return Field{Name: name, Type: TypeNum, Help: help, USDT: true} }

func enum(name, enumeration, help string) Field {
	return Field{Name: name, Type: TypeEnum, Enum: enumeration, Help: help, USDT: true}
}

func stage(name, help string) Field { return Field{Name: name, Type: TypeDur, Help: help} }

func conn() Field {
	return Field{Name: "conn", Type: TypeID, Help: "The connection; never given twice by one server.", USDT: true}
}

func client() Field {
	return Field{Name: "client", Type: TypeText, Help: "Address of the client, without the port.", Redact: true}
}

func opaque() Field {
	return Field{Name: "opaque", Type: TypeID, Help: "What the client numbered the request with.", USDT: true}
}

func bytesIn() Field {
	return Field{Name: "bytes_in", Type: TypeBytes, Help: "Bytes received.", USDT: true}
}

func bytesOut() Field {
	return Field{Name: "bytes_out", Type: TypeBytes, Help: "Bytes of the reply.", USDT: true}
}

func keyField() Field {
	return Field{Name: "key", Type: TypeKey, Help: "Name of the document.", USDT: true, Redact: true}
}

// probes is the table. Names, order, types and units are an interface for users: append fields, never reorder or rename.
// Rules for a new probe: one place in the code, fields that are known there without work, an …-done that fires once on every
// path including errors, and a test that fires it.
//
//nolint:gochecknoglobals // a constant table
var probes = []Probe{
	{"op-start", "A request is about to be carried out.", Hot, since, []Field{
		opField(), bucket(), vb(), conn(), client(), opaque(), bytesIn(), keyField(),
	}},
	{"op-done", "A reply is ready, or the operation has ended without one.", Hot, since, []Field{
		opField(),
		enum("status", "status", "How it ended."),
		{Name: "class", Type: TypeEnum, Enum: "class", Help: "The kind of outcome."},
		bucket(),
		{Name: "coll", Type: TypeNum, Help: "Collection id."},
		vb(), conn(), client(), opaque(),
		{Name: "level", Type: TypeEnum, Enum: "level", Help: "Level of durability that was asked for."},
		dur("From the arrival of the request until its reply was ready."),
		stage("recv", "From the first byte of the request to the last, if it came in pieces."),
		stage("queue", "Owed to other requests that arrived together with it."),
		stage("lock", "Waiting for the lock of a vBucket."),
		stage("exec", "In the engine, and everything not named otherwise."),
		stage("fetch", "Reading the value from disk."),
		stage("flush", "Until the flusher took the mutation."),
		stage("fsync", "Until the mutation was on disk."),
		stage("repl", "Until other copies confirmed."),
		{Name: "batch", Type: TypeNum, Help: "Requests that were answered together with it, itself included."},
		bytesIn(), bytesOut(), keyField(),
	}},
	{"op-stage", "An operation has ended; fires once for each stage that took time.", Hot, since, []Field{
		enum("stage", "stage", "Where the time went."), dur("Time in the stage."), opField(), bucket(), vb(),
	}},
	{"http-done", "An HTTP request was answered.", Warm, since, []Field{
		enum("route", "route", "Group of the request."), num("code", "HTTP status code."),
		dur("From the request's headers until the reply was written."),
		stage("queue", "Waiting for a free slot."), stage("exec", "Everything not named otherwise."),
		stage("gather", "Waiting for other nodes."), stage("send", "Writing the reply."), client(), bytesOut(),
	}},
	{"lock-wait", "A lock was not free and was waited for, for more than a millisecond.", Warm, since, []Field{
		enum("site", "site", "Which lock."), {Name: "wait", Type: TypeDur, Help: "Time waited.", USDT: true}, bucket(), vb(),
	}},
	{"cache-miss", "A value was not in memory and has to be read from disk.", Hot, since, []Field{bucket(), vb(), keyField()}},
	{"cache-evict", "A pass over one vBucket took something out of memory.", Warm, since, []Field{
		bucket(), vb(), size("Bytes freed."), num("items", "Values or documents that left memory."),
		enum("reason", "evict_reason", "Why."),
	}},
	{"op-refused", "An operation was refused for want of something.", Warm, since, []Field{
		bucket(), vb(), enum("reason", "refusal", "Of what."),
		{Name: "used", Type: TypeBytes, Help: "Memory in use."},
		{Name: "quota", Type: TypeBytes, Help: "Memory that the bucket may use."},
	}},
	{"pager-run", "A pass of the pager of a bucket ended.", Cold, since, []Field{
		bucket(), num("items", "Values or documents that left memory."), size("Bytes freed."), dur("Time taken."),
	}},
	{"expiry-run", "A pass of the expiry pager of a bucket ended.", Cold, since, []Field{
		bucket(), num("scanned", "Documents looked at."), num("items", "Documents that had expired."), dur("Time taken."),
	}},
	{"table-grow", "The hash table of a vBucket was replaced by one of another size.", Cold, since, []Field{
		bucket(), vb(), num("items", "Items in it."), num("slots", "Slots of the new table."), dur("Time taken, under the lock."),
	}},
	{"version-saved", "A version was kept for a reader because a newer one replaced it.", Cold, since, []Field{
		bucket(), vb(), size("Memory it takes."),
	}},
	{"cursor-drop", "A reader of the change feed lost its place in memory.", Cold, since, []Field{
		bucket(), vb(),
		{Name: "peer", Type: TypeText, Help: "Name of the reader."},
		{Name: "lost", Type: TypeBool, Help: "Whether it was in the middle of a snapshot and has to begin again."},
	}},
	{"flush-start", "What was written since the last sync goes to disk.", Warm, since, []Field{
		bucket(), size("Bytes of rows."), num("vbs", "vBuckets with changes."), num("waiters", "Durable writes that wait."),
	}},
	{"flush-done", "What was written since the last sync is on disk, or is not.", Warm, since, []Field{
		bucket(), size("Bytes of rows."), num("vbs", "vBuckets with changes."), num("waiters", "Durable writes that waited."),
		dur("From the first row of it until it was on disk."), enum("status", "status", "How it ended."),
	}},
	{"write-done", "A batch of rows was handed to the store.", Warm, since, []Field{
		enum("file", "file", "Kind of file."), size("Bytes written."), dur("Time taken."),
	}},
	{"fsync-done", "A sync of a file ended.", Warm, since, []Field{
		enum("file", "file", "Kind of file."), dur("Time taken."), enum("status", "status", "How it ended."),
	}},
	{"fetch-done", "A value was read from disk, or could not be.", Warm, since, []Field{
		bucket(), vb(),
		{Name: "wait", Type: TypeDur, Help: "Waiting for a free slot.", USDT: true},
		dur("Waiting and reading."), size("Bytes of the value."), enum("status", "status", "How it ended."),
	}},
	{"store-error", "The store met an error of the disk.", Cold, since, []Field{
		enum("call", "call", "What was attempted."), num("errno", "Number of the system's error, 0 = none."),
		enum("file", "file", "Kind of file."),
	}},
	{"conn-open", "A client connection was accepted.", Warm, since, []Field{
		conn(), client(), enum("port", "port", "Where."), {Name: "tls", Type: TypeBool, Help: "Whether it is encrypted."},
	}},
	{"conn-close", "A client connection ended.", Warm, since, []Field{
		conn(), client(), enum("port", "port", "Where."), enum("reason", "close_reason", "Why."), dur("Its whole life."),
		num("ops", "Requests answered."), bytesIn(), bytesOut(),
	}},
	{"auth-done", "A login succeeded or failed.", Warm, since, []Field{
		conn(), client(), enum("mech", "mech", "How."), enum("status", "status", "How it ended."), dur("Time taken."),
	}},
	{"net-read", "A read from a connection returned.", Hot, since, []Field{conn(), size("Bytes received."), num("frames", "Whole requests.")}},
	{"net-write", "A write to a connection returned.", Hot, since, []Field{conn(), size("Bytes sent."), num("frames", "Replies."), dur("Time taken.")}},
	{"map-change", "The node was given another assignment of vBuckets.", Cold, since, []Field{
		bucket(), num("rev", "Revision of the cluster map."), num("moved", "vBuckets whose state changed."),
	}},
	{"meta-write", "The cluster's state was written.", Cold, since, []Field{
		dur("Time taken."), size("Bytes written."), enum("status", "status", "How it ended."),
	}},
	{"cache-hit", "A read found the value in memory.", Hot, since, []Field{bucket(), vb(), keyField()}},
	{"queue-enter", "Something has to wait for its turn.", Hot, since, []Field{
		enum("queue", "queue", "Which queue."), num("len", "Length of the queue with it."),
	}},
	{"queue-leave", "Its turn has come, or it has given up.", Hot, since, []Field{
		enum("queue", "queue", "Which queue."), num("len", "Length of the queue without it."),
		{Name: "wait", Type: TypeDur, Help: "Time waited.", USDT: true},
	}},
	{"durable-done", "A durable write has reached its level, or has not.", Warm, since, []Field{
		bucket(), vb(),
		{Name: "level", Type: TypeEnum, Enum: "level", Help: "Level of durability."},
		{Name: "local", Type: TypeDur, Help: "Until this node had it on disk.", USDT: true},
		dur("Since the write was applied."), enum("status", "status", "How it ended."),
	}},
	{"compact-done", "A compaction of the store ended.", Cold, since, []Field{
		num("level", "Level that it wrote to."),
		{Name: "in", Type: TypeBytes, Help: "Bytes read."},
		{Name: "out", Type: TypeBytes, Help: "Bytes written."},
		dur("Time taken."), enum("status", "status", "How it ended."),
	}},
	{"store-stall", "The store has let writes go on that it had held up.", Cold, since, []Field{
		enum("reason", "stall", "Why it had."), dur("Time that writes were held up."),
	}},
}
