package vbucket

// MaxFailoverEntries bounds a failover log; older branches are forgotten, and readers that stand on one start over.
const MaxFailoverEntries = 25

// FailoverEntry says that the branch UUID began after Seqno: the first change written on it has a higher seqno.
type FailoverEntry struct {
	UUID  UUID  `json:"uuid"`
	Seqno Seqno `json:"seqno"`
}

// FailoverLog lists the branches of a vBucket's history, newest first. The newest is the one being written. The seqnos
// never rise from one entry to the next.
type FailoverLog []FailoverEntry

// Current gives the UUID of the newest branch, or 0 for an empty log.
func (l FailoverLog) Current() UUID {
	if len(l) == 0 {
		return 0
	}
	return l[0].UUID
}

// Begin returns a new log in which the branch id begins after seqno. Branches that began above seqno hold nothing that
// survived and are left out. One that began exactly there is kept although it is empty: a reader may stand at its beginning.
// Beyond MaxFailoverEntries the oldest empty branch goes, so that a node that dies again and again does not forget real
// history, and if there is none the oldest. The receiver is not changed.
func (l FailoverLog) Begin(id UUID, seqno Seqno) FailoverLog {
	next := make(FailoverLog, 1, len(l)+1)
	next[0] = FailoverEntry{UUID: id, Seqno: seqno}
	for _, e := range l {
		if e.Seqno <= seqno {
			next = append(next, e)
		}
	}
	for len(next) > MaxFailoverEntries {
		drop := len(next) - 1
		for i := len(next) - 1; i > 1; i-- { // not the one that ends now: readers stand on it
			if next[i].Seqno == next[i-1].Seqno { // the branch ended where it began
				drop = i
				break
			}
		}
		next = append(next[:drop], next[drop+1:]...)
	}
	return next
}

// End gives the last seqno that belongs to branch id when the vBucket's highest is high, and whether the log knows it.
func (l FailoverLog) End(id UUID, high Seqno) (Seqno, bool) {
	end := high
	for _, e := range l {
		if e.UUID == id {
			return end, true
		}
		end = e.Seqno
	}
	return 0, false
}

// Shared tells how far a reader that stands at p agrees with this history, whose highest seqno is high and whose
// tombstones are purged up to purge: the seqno to continue after, which is p.Seqno if nothing has to be given up, and
// otherwise the seqno to roll back to. A reader at seqno 0 may always start.
func (l FailoverLog) Shared(p Position, high, purge Seqno) Seqno {
	if p.Seqno == 0 {
		return 0
	}
	if p.Seqno < purge {
		return 0
	}
	end, known := l.End(p.UUID, high)
	switch {
	case !known:
		return 0
	case p.Seqno <= end:
		return p.Seqno
	case end < purge:
		return 0
	}
	return end
}
