package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/spec"
)

// The exit codes. They are documented in docs/operating/command-line.md and never change their meaning.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitDenied      = 5
	exitUnreachable = 6
	exitRefused     = 7
	exitBusy        = 9
	exitDisk        = 74 // EX_IOERR of sysexits.h: the node ended itself because its disk failed
	exitInterrupted = 130
)

// failure is an error for a person.
type failure struct {
	code int
	err  error
	hint string // what to do; may be empty
}

// Error gives what went wrong, without the hint.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.err }

// fail makes a failure with a code and a text.
func fail(code int, format string, args ...any) *failure {
	return &failure{code: code, err: fmt.Errorf(format, args...)}
}

// do adds what the person can do about it.
func (f *failure) do(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

// describe turns any error into a failure: what the command knows wins over what can be told from the error alone.
func describe(ctx context.Context, err error) *failure {
	if known, ok := errors.AsType[*failure](err); ok {
		return &failure{code: known.code, err: err, hint: known.hint}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &failure{code: exitInterrupted, err: errors.New("interrupted")}
	}
	if f := describeLocal(err); f != nil {
		return f
	}
	if f := describeRemote(err); f != nil {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return &failure{code: exitUnreachable, err: err, hint: "Is the server running, and is --server its address?"}
	}
	return &failure{code: exitFailed, err: err}
}

// describeLocal knows the errors of the command line, the settings, the node in this process and its files.
func describeLocal(err error) *failure {
	var (
		setting *config.Error
		parse   *kong.ParseError
		invalid spec.Invalid
		path    *os.PathError
		fatal   *node.FatalError
	)
	switch {
	case errors.As(err, &fatal):
		return &failure{code: exitDisk, err: err, hint: "What was acknowledged as persisted is safe. Mend the disk, then start " +
			"the node again on the same directory: it recovers by itself"}
	case errors.As(err, &setting):
		return &failure{code: exitUsage, err: err}
	case errors.As(err, &parse):
		return &failure{code: exitUsage, err: err, hint: "See: " + strings.TrimSpace(commandOf(parse)+" --help")}
	case errors.As(err, &invalid):
		return &failure{code: exitUsage, err: err}
	case errors.As(err, &path) && errors.Is(err, os.ErrNotExist):
		return &failure{code: exitNotFound, err: err}
	case errors.As(err, &path) && errors.Is(err, os.ErrPermission):
		return &failure{code: exitDenied, err: err}
	}
	return nil
}

// commandOf names the command in which parsing went wrong.
func commandOf(e *kong.ParseError) string {
	if e.Context == nil {
		return "charpoy"
	}
	words := []string{e.Context.Model.Name}
	for _, p := range e.Context.Path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return strings.Join(words, " ")
}

// report prints a failure in the house's form: what and why, then what to do.
func (a *app) report(f *failure) {
	fmt.Fprintf(a.Stderr, "%s %s\n", a.paint(a.Stderr, red, a.Name+":"), f.err)
	if f.hint != "" {
		fmt.Fprintf(a.Stderr, "  %s\n", f.hint)
	}
}
