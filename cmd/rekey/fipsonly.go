//go:build fipsonly

package main

import (
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// rotationCommands: none, since they need the queue, whose Redis client cannot
// run where only FIPS 140 algorithms may.
func (a *app) rotationCommands() []*cobra.Command { return nil }

// policies are for the schedule, which this build has not.
type policies []yaml.Node

func (policies) check() error { return nil }

func rotationClasses() []class { return nil }
