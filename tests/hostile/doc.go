// Package hostile attacks a real server from outside, as careless and malicious clients do: connections that say half a
// sentence, frames that announce 4 GiB, readers that do not read, floods of wrong passwords, endless pipelines, garbage. While
// it does so, an ordinary client works on the same server and must never notice; at the end the server's memory must have
// stayed within a bound that does not depend on what the attackers announced.
//
// The whole package is a test: see hostile_test.go for the attacks and attacker_test.go for their tools. It runs once against
// the server as it is shipped and once against one that was built with the race detector, both under a memory limit.
package hostile
