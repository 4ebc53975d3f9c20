package trace

// enumerations is the table of enumerations. Values are an interface for users: append, never reorder or rename.
//
//nolint:gochecknoglobals // a constant table
var enumerations = []Enumeration{
	{"op", "Op", "Operations of clients, by name.", []string{
		"get", "get_quiet", "get_with_key", "get_with_key_quiet", "get_replica", "get_and_touch", "get_and_touch_quiet",
		"get_and_lock", "unlock", "get_meta", "get_meta_quiet", "set", "set_quiet", "add", "add_quiet", "replace",
		"replace_quiet", "append", "append_quiet", "prepend", "prepend_quiet", "delete", "delete_quiet", "increment",
		"increment_quiet", "decrement", "decrement_quiet", "touch", "get_keys", "get_random_key", "get_all_vb_seqnos",
		"observe", "observe_seqno", "get_failover_log", "get_manifest", "get_collection_id", "get_scope_id", "list_buckets",
		"select_bucket", "get_cluster_config", "get_error_map", "hello", "sasl_list_mechs", "sasl_auth", "sasl_step", "stat",
		"version", "verbosity", "noop", "quit", "quit_quiet", "flush", "flush_quiet", "subdoc", "other",
		"bucket_create", "bucket_delete", "view_query", "seqno_persistence", "cas", "gets", "gat", "gats", "flush_all",
		"meta_get", "meta_set", "meta_delete", "meta_arithmetic", "meta_noop", "meta_debug",
	}},
	{"class", "Class", "Outcomes of operations. miss and moved are outcomes, not errors.", []string{
		"ok", "miss", "moved", "client_error", "temporary", "server_error",
	}},
	{"status", "Status", "How something ended.", []string{"ok", "failed", "refused", "canceled", "timeout", "ambiguous"}},
	{"level", "Level", "Levels of durability.", []string{"majority", "majority_and_persist", "persist_to_majority"}},
	{"stage", "Stage", "Where the time of an operation goes.", []string{
		"exec", "recv", "queue", "lock", "fetch", "flush", "fsync", "repl", "index", "gather", "script", "send",
	}},
	{"site", "Site", "Locks that are watched.", []string{"vbucket"}},
	{"evict_reason", "EvictReason", "Why something left memory.", []string{"pager", "tombstone", "expired"}},
	{"refusal", "Refusal", "Why an operation was refused.", []string{
		"quota", "dirty", "window", "disk", "lease", "warming", "size",
	}},
	{"file", "File", "Kinds of files.", []string{"wal", "table", "manifest", "index", "archive", "cluster", "other"}},
	{"call", "Call", "System calls on files.", []string{
		"open", "read", "write", "sync", "rename", "remove", "list", "map", "other",
	}},
	{"port", "Port", "Ports that clients connect to.", []string{"kv", "kv_tls", "memcached", "mgmt", "mgmt_tls"}},
	{"close_reason", "CloseReason", "Why a connection ended.", []string{
		"client", "error", "timeout", "protocol", "limit", "bucket_gone", "shutdown", "slow_reader",
	}},
	{"mech", "Mech", "Ways to log in.", []string{
		"PLAIN", "SCRAM-SHA1", "SCRAM-SHA256", "SCRAM-SHA512", "certificate", "basic", "token", "other",
	}},
	{"queue", "Queue", "Queues.", []string{"reply", "flush", "fetch", "dcp", "index", "compact", "http"}},
	{"stall", "Stall", "Why the store holds writes up.", []string{"memtables", "level0", "other"}},
	{"route", "Route", "Groups of HTTP requests.", []string{
		"root", "pools", "pool", "config", "tasks", "certificate", "stream", "buckets", "bucket", "flush", "scopes", "ddocs", "stats",
		"doc", "rbac", "password", "whoami", "metrics", "health", "slow", "debug", "other",
	}},
}
