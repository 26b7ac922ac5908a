package emulator

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// enterScript lays out the mount namespace and becomes the emulator.
//
//go:embed enter.sh
var enterScript string

// namespaces makes the child the first process of a process namespace: when it ends, the kernel ends all others in it, and the
// kernel ends it when the test binary ends, also by a panic or SIGKILL.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt at the terminal is for the test, which then ends this
	}
	if uid := os.Geteuid(); uid != 0 {
		// Mounts need root, of a user namespace at least; many systems allow that one to everybody.
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// managedBootstrap returns the file that is to appear as /var/runtime/bootstrap. The emulator's managed mode ignores a command on
// its command line and looks there first. Arguments need a script; a program alone appears there itself, because user 993 may not be able
// to reach it where it is: temporary folders of tests are closed to others.
func managedBootstrap(tb testing.TB, c Config, command []string) string {
	if !c.Managed {
		return ""
	}
	if len(command) == 1 {
		return command[0]
	}
	quoted := make([]string, len(command))
	for i, arg := range command {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	path := filepath.Join(tb.TempDir(), "bootstrap")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec "+strings.Join(quoted, " ")+"\n"), 0o755); err != nil {
		tb.Fatal(err)
	}
	return path
}
