package network_test

import (
	"testing"

	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/network/networktest"
)

func TestTCP(t *testing.T)    { networktest.Test(t, network.TCP()) }
func TestMemory(t *testing.T) { networktest.Test(t, network.NewMemory()) }
