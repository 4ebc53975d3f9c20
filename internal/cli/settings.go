package cli

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/charpoy/charpoy/internal/config"
)

// newSettingFlags makes a pointer to a struct with one flag for each setting that may be a flag. The table of settings is
// the only list of them: kong reads struct fields, so the fields are made from the table.
func newSettingFlags() any {
	var fields []reflect.StructField
	for _, s := range config.All() {
		if !s.Flag {
			continue
		}
		help := s.Help
		if s.Default != "" {
			help += " (" + s.Default + ")"
		}
		fields = append(fields, reflect.StructField{
			Name: fieldName(s.Name),
			Type: reflect.TypeFor[*string](),
			Tag: reflect.StructTag(fmt.Sprintf(`name:%q help:%q group:"Settings" placeholder:%q`,
				s.Name, strings.TrimSpace(help), placeholder(s.Name))),
		})
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// givenSettings reads the flags that were given, by the settings' names.
func givenSettings(plugins kong.Plugins) map[string]string {
	given := map[string]string{}
	v := reflect.ValueOf(plugins[0]).Elem()
	for _, s := range config.All() {
		if !s.Flag {
			continue
		}
		if p, ok := reflect.TypeAssert[*string](v.FieldByName(fieldName(s.Name))); ok && p != nil {
			given[s.Name] = *p
		}
	}
	return given
}

// fieldName makes an exported Go name of a setting's name: kv-port, KvPort.
func fieldName(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func placeholder(name string) string {
	switch {
	case strings.HasSuffix(name, "-port"):
		return "PORT"
	case name == "data":
		return "DIR"
	case strings.HasPrefix(name, "tls-"), name == "ready-json":
		return "FILE"
	default:
		return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	}
}

// settings resolves the settings of a node. What is in fixed is the command's own wish; it is as strong as a flag.
func (a *app) settings(file string, given map[string]string, fixed map[string]string) (*config.Settings, []config.Value, error) {
	src, err := a.sources(file, given, fixed)
	if err != nil {
		return nil, nil, err
	}
	s, values, err := config.Resolve(src)
	if err != nil {
		return nil, nil, &failure{code: exitUsage, err: err}
	}
	return s, values, nil
}

// sources collects where the settings of a node come from, see settings.
func (a *app) sources(file string, given map[string]string, fixed map[string]string) (config.Sources, error) {
	flags := maps.Clone(given)
	if flags == nil {
		flags = map[string]string{}
	}
	maps.Copy(flags, fixed)
	src := config.Sources{Flags: flags, Env: a.Env}
	if file == "" {
		file = a.env("CHARPOY_CONFIG")
	}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return src, fail(exitUsage, "settings file: %w", err).do("Check --config (CHARPOY_CONFIG).")
		}
		src.File = content
	}
	return src, nil
}

// configCmd prints the settings.
type configCmd struct {
	format
	ConfigFile string `name:"config" placeholder:"FILE" type:"path" help:"Settings file (YAML); also CHARPOY_CONFIG."`
	kong.Plugins
}

// Help is the long help.
func (*configCmd) Help() string {
	return "Shows what `serve` with the same flags, variables and file would use, and where each value comes from.\n\n" +
		"Example: charpoy config --kv-port 0"
}

// Run prints them.
func (c *configCmd) Run(a *app) error {
	_, values, err := a.settings(c.ConfigFile, givenSettings(c.Plugins), nil)
	if err != nil {
		return err
	}
	t := &table{columns: []string{"setting", "value", "origin", "variable"}}
	for _, v := range values {
		t.add(v, v.Name, v.Value, string(v.Origin), v.Env)
	}
	return a.print(c.format, t)
}
