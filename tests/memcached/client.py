"""Goes through the operations of pymemcache, a client of memcached's text protocol, and checks every answer.

It ends with a code other than 0 at the first difference:  /usr/bin/python3 client.py HOST PORT
"""

import sys

from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheIllegalInputError,
    MemcacheServerError,
    MemcacheUnknownCommandError,
)


def want(got, expected):
    """Compares, and says what differs."""
    if got != expected:
        raise AssertionError("got %r, want %r" % (got, expected))


def raises(kind, call, *args, **options):
    """Demands an exception."""
    try:
        got = call(*args, **options)
    except kind:
        return
    raise AssertionError("got %r, want %s" % (got, kind.__name__))


def storing(c):
    """All that stores, with and without waiting for answers."""
    want(c.get("py-none"), None)
    want(c.set("py-a", b"abc", expire=600, noreply=False), True)
    want(c.get("py-a"), b"abc")
    want(c.set("py-q", b"quiet", noreply=True), True)
    want(c.get("py-q"), b"quiet")
    want(c.add("py-a", b"x", noreply=False), False)
    want(c.add("py-b", b"x", noreply=False), True)
    want(c.replace("py-b", b"y", noreply=False), True)
    want(c.replace("py-none", b"y", noreply=False), False)
    want(c.append("py-a", b"def", noreply=False), True)
    want(c.prepend("py-a", b"012", noreply=False), True)
    want(c.get("py-a"), b"012abcdef")
    want(c.append("py-none", b"x", noreply=False), False)
    want(c.set("py-empty", b"", noreply=False), True)
    want(c.get("py-empty"), b"")
    binary = bytes(range(256)) * 3
    want(c.set("py-bytes", binary, noreply=False), True)
    want(c.get("py-bytes"), binary)


def cas(c):
    """Compare and swap."""
    value, token = c.gets("py-a")
    want(value, b"012abcdef")
    want(c.cas("py-a", b"new", token, noreply=False), True)
    want(c.cas("py-a", b"newer", token, noreply=False), False)
    want(c.cas("py-none", b"x", token, noreply=False), None)
    many = c.gets_many(["py-a", "py-b", "py-none"])
    want(sorted(many), ["py-a", "py-b"])
    want(many["py-a"][0], b"new")


def many(c):
    """Many keys in one command, more than a batch of the server has, and a long pipeline without answers."""
    pairs = {"py-many-%d" % i: b"value of %d" % i for i in range(1000)}
    want(c.set_many(pairs, noreply=False), [])
    want(c.get_many(list(pairs) + ["py-none"]), pairs)
    want(c.delete_many(list(pairs)[:500], noreply=True), True)
    want(len(c.get_many(list(pairs))), 500)


def others(c):
    """Counters, expiry, deletion, limits, statistics."""
    want(c.incr("py-n", 5, noreply=False), None)
    c.set("py-n", b"7", noreply=False)
    want(c.incr("py-n", 5, noreply=False), 12)
    want(c.decr("py-n", 20, noreply=False), 0)
    want(c.get("py-n"), b"0")
    raises(MemcacheClientError, c.incr, "py-a", 1, noreply=False)
    want(c.touch("py-a", 300, noreply=False), True)
    want(c.touch("py-none", 300, noreply=False), False)
    want(c.delete("py-b", noreply=False), True)
    want(c.delete("py-b", noreply=False), False)
    want(c.set("py-gone", b"x", expire=-1, noreply=False), True)
    want(c.get("py-gone"), None)
    raises(MemcacheServerError, c.set, "py-big", b"z" * (2 << 20), noreply=False)
    want(c.get("py-big"), None)
    want(c.set("py-big", b"z" * (900 << 10), noreply=False), True)
    want(len(c.get("py-big")), 900 << 10)
    raises(MemcacheIllegalInputError, c.get, "k" * 251)
    raises(MemcacheUnknownCommandError, c.stats, "bogus")
    want(c.version().startswith(b"1.6."), True)
    stats = c.stats()
    want(stats[b"curr_items"] > 500, True)
    want(stats[b"pointer_size"], 64)
    want(c.stats("settings")[b"item_size_max"] in (1048576, b"1048576"), True)


def main(host, port):
    """Runs all of it over single connections and over a pool."""
    server = (host, int(port))
    c = Client(server, timeout=10, connect_timeout=10)
    storing(c)
    cas(c)
    many(c)
    others(c)
    theirs = c.get("from-go")
    if theirs is not None:
        want(theirs, b'{"from":"go"}')
    c.set("from-py", b'{"from":"py"}', noreply=False)
    c.quit()
    pool = PooledClient(server, timeout=10, max_pool_size=4)
    want(pool.get("from-py"), b'{"from":"py"}')
    pool.close()
    print("pymemcache: all as it should be")


main(*sys.argv[1:3])
