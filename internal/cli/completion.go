package cli

import (
	"fmt"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a completion script. The script is made from the tree of commands, so it knows what this very binary
// knows; it asks no server.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the long help.
func (*completionCmd) Help() string {
	return "For the present shell:\n\n" +
		"  bash: source <(charpoy completion bash)\n" +
		"  zsh: source <(charpoy completion zsh)\n" +
		"  fish: charpoy completion fish | source"
}

// Run prints it.
func (c *completionCmd) Run(a *app) error {
	levels := levelsOf(a.parser.Model.Node, "", a.parser.Model.Flags)
	var script string
	switch c.Shell {
	case "bash":
		script = bashScript(a.Name, levels)
	case "zsh":
		script = "autoload -U +X bashcompinit && bashcompinit\n" + bashScript(a.Name, levels)
	default:
		script = fishScript(a.Name, levels)
	}
	_, err := fmt.Fprint(a.Stdout, script)
	return err
}

// level is a place in the tree: the words before, and what can follow.
type level struct {
	path     string // "kv get"
	commands []string
	flags    []string // with their dashes
	valued   []string // those of the flags that take a value
}

// levelsOf walks the tree.
func levelsOf(n *kong.Node, path string, inherited []*kong.Flag) []level {
	l := level{path: path}
	flags := inherited
	if n.Type != kong.ApplicationNode {
		flags = append(append([]*kong.Flag{}, inherited...), n.Flags...)
	}
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		l.flags = append(l.flags, "--"+f.Name)
		if !f.IsBool() && !f.IsCounter() {
			l.valued = append(l.valued, "--"+f.Name)
			if f.Short != 0 {
				l.valued = append(l.valued, "-"+string(f.Short))
			}
		}
	}
	sort.Strings(l.flags)
	sort.Strings(l.valued)
	var below []level
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		l.commands = append(l.commands, child.Name)
		below = append(below, levelsOf(child, strings.TrimSpace(path+" "+child.Name), flags)...)
	}
	return append([]level{l}, below...)
}

// bashScript walks the words typed so far to find the level, then offers what can follow there. After a flag that takes a
// value, and where a command takes arguments, it offers file names.
func bashScript(name string, levels []level) string {
	var b strings.Builder
	fn := "_" + strings.ReplaceAll(name, "-", "_") + "_complete"
	fmt.Fprintf(&b, "%s() {\n\tlocal at=\"\" word next i cur=\"${COMP_WORDS[COMP_CWORD]}\" commands flags valued\n\tCOMPREPLY=()\n", fn)
	fmt.Fprintf(&b, "\t%s_level \"\"\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tword=\"${COMP_WORDS[i]}\"\n", fn)
	b.WriteString("\t\tif [[ \" $valued \" == *\" $word \"* ]]; then\n\t\t\t((i++))\n\t\t\tcontinue\n\t\tfi\n")
	fmt.Fprintf(&b, "\t\tif [[ \" $commands \" == *\" $word \"* ]]; then\n\t\t\tat=\"${at:+$at }$word\"\n\t\t\t%s_level \"$at\"\n\t\tfi\n\tdone\n", fn)
	b.WriteString("\tif ((COMP_CWORD > 0)) && [[ \" $valued \" == *\" ${COMP_WORDS[COMP_CWORD-1]} \"* ]]; then\n" +
		"\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n" +
		"\telif [[ \"$cur\" == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n" +
		"\telif [[ -n \"$commands\" ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n" +
		"\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\n")
	fmt.Fprintf(&b, "%s_level() {\n\tcase \"$1\" in\n", fn)
	for _, l := range levels {
		fmt.Fprintf(&b, "\t\t%q) commands=%q flags=%q valued=%q ;;\n", l.path,
			strings.Join(l.commands, " "), strings.Join(l.flags, " "), strings.Join(l.valued, " "))
	}
	fmt.Fprintf(&b, "\tesac\n}\ncomplete -o filenames -F %s %s\n", fn, name)
	return b.String()
}

// fishScript gives one line for each command and flag, each with the condition under which it may follow.
func fishScript(name string, levels []level) string {
	var b strings.Builder
	fmt.Fprintf(&b, "complete -c %s -f\n", name)
	for _, l := range levels {
		condition := "__fish_use_subcommand"
		if l.path != "" {
			var tests []string
			for word := range strings.FieldsSeq(l.path) {
				tests = append(tests, "__fish_seen_subcommand_from "+word)
			}
			condition = strings.Join(tests, "; and ")
			if len(l.commands) > 0 {
				condition += "; and not __fish_seen_subcommand_from " + strings.Join(l.commands, " ")
			}
		}
		for _, c := range l.commands {
			fmt.Fprintf(&b, "complete -c %s -n '%s' -a %s\n", name, condition, c)
		}
		for _, f := range l.flags {
			value := ""
			for _, v := range l.valued {
				if v == f {
					value = " -r -F"
				}
			}
			fmt.Fprintf(&b, "complete -c %s -n '%s' -l %s%s\n", name, condition, strings.TrimPrefix(f, "--"), value)
		}
	}
	return b.String()
}
