package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// importCmd loads documents.
type importCmd struct {
	documents
	lifetime
	Source     string `arg:"" help:"File of JSON objects, one a line; compressed with gzip or not; - reads the standard input."`
	Key        string `xor:"key" placeholder:"TEMPLATE" help:"How to make keys, such as 'city::{geonameid}'; fields inside others with dots: {owner.id}."`
	KeyField   string `xor:"key" placeholder:"FIELD" help:"The field whose value is the key."`
	Add        bool   `help:"Keep documents that exist: they count as bad lines."`
	Durability string `enum:"none,majority,majorityAndPersistActive,persistToMajority" default:"none" placeholder:"LEVEL" help:"Durability of each write: none, majority, majorityAndPersistActive or persistToMajority."`
	SkipBad    bool   `help:"Report lines that cannot be loaded, and go on. Without it the first one ends the import."`
	Workers    int    `default:"${workers}" placeholder:"N" help:"Writes that are under way at once (${default})."`
	Checkpoint string `placeholder:"FILE" type:"path" help:"Where to keep how far the import is; SOURCE.charpoy-import if the source is a file."`
	Restart    bool   `help:"Begin at the first line, whatever the checkpoint says."`
	Output     string `short:"o" enum:"text,json" default:"text" help:"Form of the progress: text or json (one event a line)."`
}

// Help is the long help.
func (*importCmd) Help() string {
	return "Without --key and --key-field the lines must be those that `charpoy export` writes. An import that was interrupted " +
		"goes on where it was when the same command is given again.\n\n" +
		"Example: charpoy import cities.ndjson.gz --key 'city::{geonameid}'"
}

// checkpointInterval is how often a long job notes how far it is.
const checkpointInterval = 5 * time.Second

// Run loads them.
func (c *importCmd) Run(a *app) error {
	job := &importJob{app: a, cmd: c, lineToLoad: exportedLine}
	if err := job.prepare(); err != nil {
		return err
	}
	source, err := openLines(c.Source, a.Stdin)
	if err != nil {
		return err
	}
	defer source.close() //nolint:errcheck // it was only read
	job.source = source
	if err := job.resume(); err != nil {
		return err
	}
	options, err := c.options(a)
	if err != nil {
		return err
	}
	probe, err := dialBucket(a.ctx, options) // what is wrong with bucket or password is told at once
	if err != nil {
		return err
	}
	_ = probe.Close() // it was only a question
	job.bulk = newBulk(options)
	defer job.bulk.close()
	return job.run()
}

// importJob is an import under way.
type importJob struct {
	app        *app
	cmd        *importCmd
	source     *lineSource
	bulk       *bulk
	meter      *meter
	with       client.With // what the flags say about each write; flags and, without --expiry, the expiry come from the line
	lineToLoad func(line []byte) (load, error)
	file       string // of the checkpoint; empty: none is kept
	mark       importMark

	mu struct {
		sync.Mutex
		sums    *prefixSums
		saved   time.Time
		refused bool // the checkpoint could not be written; told once
	}
}

// prepare reads the flags.
func (j *importJob) prepare() (err error) {
	c := j.cmd
	if c.Workers < 1 || c.Workers > 4096 {
		return fail(exitUsage, "--workers %d: want 1 to 4096", c.Workers)
	}
	if j.with.Expiry, err = c.seconds(j.app.Now()); err != nil {
		return err
	}
	j.with.Level, _ = spec.ParseDurability(c.Durability)
	var maker *keyMaker
	switch {
	case c.Key != "":
		if maker, err = parseTemplate(c.Key); err != nil {
			return &failure{code: exitUsage, err: err}
		}
	case c.KeyField != "":
		maker = fieldKey(c.KeyField)
	}
	if maker != nil {
		j.lineToLoad = func(line []byte) (load, error) {
			if !json.Valid(line) {
				return load{}, errors.New("it is no JSON")
			}
			key, err := maker.key(nil, line)
			return load{key: string(key), value: line, with: client.With{Flags: jsonFlags}}, err
		}
	}
	if j.file = c.Checkpoint; j.file == "" && c.Source != "-" {
		j.file = c.Source + ".charpoy-import"
	}
	return nil
}

// resume reads the checkpoint and skips the lines that are loaded already.
func (j *importJob) resume() error {
	c := j.cmd
	want := importMark{
		Kind: "import", Source: c.Source, Bucket: c.bucket(j.app), Keys: c.Key + "\x00" + c.KeyField,
	}
	j.mark = want
	j.mu.sums = newPrefixSums()
	if j.file == "" || c.Restart {
		return nil
	}
	var found importMark
	ok, err := loadMark(j.file, &found)
	if err != nil || !ok {
		return err
	}
	same := found
	same.Line, same.Sum, same.Docs, same.Bytes, same.Failed = 0, 0, 0, 0, 0
	if same != want {
		return fail(exitConflict, "the checkpoint %s is that of another import (bucket %s, source %s)", j.file, found.Bucket, found.Source).
			do("Add --restart to begin at the first line, or --checkpoint with another file.")
	}
	if err := j.skip(found.Line); err != nil {
		return err
	}
	if j.mu.sums.upTo(found.Line) != found.Sum {
		return fail(exitConflict, "the first %s lines of %s are not those that were loaded", groups(found.Line), c.Source).
			do("Add --restart to begin at the first line.")
	}
	j.mark = found
	j.app.note("going on after line %s (%s)", groups(found.Line), j.file)
	return nil
}

// skip passes over the lines that are loaded already.
func (j *importJob) skip(to int64) error {
	for j.source.line < to {
		line, number, err := j.source.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil // blank lines at the end, or a shorter source, which its checksum tells
		case err == nil && number <= to:
			j.mu.sums.add(number, line)
		case err == nil:
			return fail(exitConflict, "line %d of %s was blank and is no more", to, j.cmd.Source).do("Add --restart to begin at the first line.")
		case !errors.Is(err, errLongLine):
			return fmt.Errorf("skip the %d lines that are loaded: %w", to, err)
		}
	}
	return nil
}

// run loads, shows progress and keeps the checkpoint.
func (j *importJob) run() error {
	a := j.app
	j.meter = a.meter("import", j.cmd.Output == "json")
	op := (*client.Conn).Set
	if j.cmd.Add {
		op = (*client.Conn).Add
	}
	l := &loader{bulk: j.bulk, op: op, workers: j.cmd.Workers, next: j.next, bad: j.bad, moved: j.moved}
	begin := loaderState{Line: j.mark.Line, Docs: j.mark.Docs, Bytes: j.mark.Bytes, Failed: j.mark.Failed}
	l.begin(begin)
	j.meter.resume(j.state(begin))
	j.mu.saved = a.Now()
	done, err := l.run(a.ctx)
	j.meter.update(j.state(done))
	j.meter.end(err == nil)
	if err == nil {
		return j.complete(done)
	}
	saved := j.save(done)
	switch {
	case a.ctx.Err() != nil && saved:
		return fail(exitInterrupted, "interrupted after line %s", groups(done.Line)).
			do("The same command goes on there (%s).", j.file)
	case saved:
		f := describe(a.ctx, err)
		return f.do("%s\n  The same command goes on after line %s (%s).", f.hint, groups(done.Line), j.file)
	}
	return err
}

// complete ends an import that has seen every line.
func (j *importJob) complete(done loaderState) error {
	if err := removeMark(j.file); err != nil {
		return err
	}
	if done.Failed > 0 {
		return fail(exitFailed, "%s of %s documents could not be loaded; they are reported above", groups(done.Failed), groups(done.Failed+done.Docs))
	}
	return nil
}

func (j *importJob) state(s loaderState) meterState {
	return meterState{Docs: s.Docs, Bytes: s.Bytes, Failed: s.Failed, Done: j.source.at.Load(), Total: j.source.size}
}

// next reads a line and makes a document of it.
func (j *importJob) next() (load, error) {
	line, number, err := j.source.next()
	if errors.Is(err, errLongLine) {
		return load{}, &lineError{number, err}
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read %s after line %d: %w", j.cmd.Source, number, err)
		}
		return load{}, err
	}
	if j.file != "" {
		j.mu.Lock()
		j.mu.sums.add(number, line)
		j.mu.Unlock()
	}
	d, err := j.lineToLoad(line)
	if err != nil {
		return load{}, &lineError{number, err}
	}
	d.with.Level = j.with.Level
	if j.with.Expiry != 0 {
		d.with.Expiry = j.with.Expiry
	}
	d.line = number
	return d, nil
}

// exportedLine reads a line as export writes it.
func exportedLine(line []byte) (load, error) {
	var in docLine
	if err := json.Unmarshal(line, &in); err != nil {
		return load{}, fmt.Errorf("it is no JSON object: %w", err)
	}
	d := load{key: in.Key, value: in.Value, with: client.With{Flags: in.Flags, Expiry: in.Expiry}}
	if in.KeyBase64 != "" {
		key, err := base64.StdEncoding.DecodeString(in.KeyBase64)
		if err != nil {
			return load{}, fmt.Errorf("key_base64: %w", err)
		}
		d.key = string(key)
	}
	if d.key == "" || in.Value == nil && in.Base64 == nil {
		return load{}, errors.New("it is not a line of charpoy export, which has key and value; give --key or --key-field to load plain documents")
	}
	if in.Base64 != nil {
		value, err := base64.StdEncoding.DecodeString(*in.Base64)
		if err != nil {
			return load{}, fmt.Errorf("base64: %w", err)
		}
		d.value = value
	}
	return d, nil
}

// bad reports a line that cannot be loaded.
func (j *importJob) bad(e *lineError) error {
	if j.cmd.SkipBad {
		j.app.complain(j.cmd.Source, e)
		return nil
	}
	return (&failure{code: exitFailed, err: fmt.Errorf("%s: %w", j.cmd.Source, e)}).
		do("Mend the line, or add --skip-bad to report such lines and go on.")
}

// complain reports a line on the standard error.
func (a *app) complain(source string, e *lineError) {
	fmt.Fprintf(a.Stderr, "%s: %s\n", source, printable(e.Error()))
}

// moved shows progress and keeps the checkpoint.
func (j *importJob) moved(s loaderState) {
	j.meter.update(j.state(s))
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := j.app.Now(); now.Sub(j.mu.saved) >= checkpointInterval {
		j.mu.saved = now
		j.saveLocked(s)
	}
}

func (j *importJob) save(s loaderState) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.saveLocked(s)
}

// saveLocked writes the checkpoint; false if there is none.
func (j *importJob) saveLocked(s loaderState) bool {
	if j.file == "" || s.Line < j.mark.Line {
		return false
	}
	j.mark.Line, j.mark.Docs, j.mark.Bytes, j.mark.Failed = s.Line, s.Docs, s.Bytes, s.Failed
	j.mark.Sum = j.mu.sums.upTo(s.Line)
	err := saveMark(j.file, &j.mark)
	if err != nil && !j.mu.refused {
		j.mu.refused = true
		j.app.note("no checkpoint can be kept, so an interrupted import begins at the first line again: %v", err)
	}
	return err == nil
}

// loadAll is the loader of the demo: documents that are made, not read, without checkpoint.
func loadAll(ctx context.Context, b *bulk, next func() (load, error), moved func(loaderState)) (loaderState, error) {
	l := &loader{
		bulk: b, op: (*client.Conn).Set, workers: bulkWorkers, next: next, moved: moved,
		bad: func(e *lineError) error { return e },
	}
	return l.run(ctx)
}
