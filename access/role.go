package access

import (
	"fmt"
	"strings"
)

// Role is one role, or several of them together. Its zero value is none.
type Role uint8

// The roles.
const (
	// Operator imports keys, starts rotations and runs them, and asks for what
	// needs a second person.
	Operator Role = 1 << iota
	// Approver releases what an operator who is another person asks for.
	Approver
	// Auditor reads everything but keys, and changes nothing.
	Auditor
	// Worker opens keys for the rotation whose work it does. It is a machine's.
	Worker
	// Admin grants and revokes tokens and does nothing else: who makes approvers
	// must not be one by the same token, and an operator's lost token must not
	// make more. Admin and Worker are not given together with another role.
	Admin
)

// roleNames are the roles in their order, which never changes: it is stored.
var roleNames = []struct {
	role Role
	name string
}{
	{Operator, "operator"}, {Approver, "approver"}, {Auditor, "auditor"}, {Worker, "worker"}, {Admin, "admin"},
}

// String lists the names, with commas.
func (r Role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
			r &^= n.role
		}
	}
	if r != 0 {
		names = append(names, fmt.Sprintf("Role(%#x)", uint8(r)))
	}
	return strings.Join(names, ",")
}

// ParseRole reads one name, or several with commas: ErrInvalid.
func ParseRole(s string) (Role, error) {
	var all Role
	for name := range strings.SplitSeq(s, ",") {
		one := roleOf(name)
		if one == 0 {
			return 0, fmt.Errorf("%w: %s is no role", ErrInvalid, quote(name))
		}
		all |= one
	}
	return all, nil
}

func roleOf(name string) Role {
	for _, n := range roleNames {
		if n.name == name {
			return n.role
		}
	}
	return 0
}

// check says whether one token may hold r.
func (r Role) check() error {
	var known Role
	for _, n := range roleNames {
		known |= n.role
	}
	switch {
	case r == 0:
		return fmt.Errorf("%w: no role", ErrInvalid)
	case r&^known != 0:
		return fmt.Errorf("%w: there is no %s", ErrInvalid, r)
	}
	for _, alone := range []Role{Worker, Admin} {
		if r&alone != 0 && r != alone {
			return fmt.Errorf("%w: role %s is held alone", ErrInvalid, alone)
		}
	}
	return nil
}

// MarshalText spells the roles as String does.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote, and no other spelling of it.
func (r *Role) UnmarshalText(b []byte) error {
	v, err := ParseRole(string(b))
	if err != nil {
		return err
	}
	if v.String() != string(b) {
		return fmt.Errorf("%w: roles are not in their order", ErrInvalid)
	}
	*r = v
	return nil
}

// Action is one thing that the program does for somebody.
type Action string

// The actions. Others may be added; none is renamed.
const (
	KeysImport  Action = "keys.import" // in any form; CPIX and SPEKE among them
	KeysList    Action = "keys.list"
	KeysShow    Action = "keys.show"   // the record, not the key
	KeysExport  Action = "keys.export" // the key itself, in any form; CPIX among them
	KeysState   Action = "keys.state"
	KeysDestroy Action = "keys.destroy"
	KeysBackup  Action = "keys.backup"
	KeysRestore Action = "keys.restore"

	KEKList    Action = "kek.list"
	KEKCreate  Action = "kek.create"
	KEKRotate  Action = "kek.rotate"
	KEKDisable Action = "kek.disable"
	KEKEnable  Action = "kek.enable"
	KEKDestroy Action = "kek.destroy"

	Scan  Action = "scan"
	Scope Action = "scope"

	RotationStart    Action = "rotation.start"
	RotationInPlace  Action = "rotation.in-place" // media overwritten under its own names
	RotationResume   Action = "rotation.resume"
	RotationPause    Action = "rotation.pause"
	RotationReplan   Action = "rotation.replan"
	RotationCancel   Action = "rotation.cancel"
	RotationClean    Action = "rotation.clean"
	RotationRollback Action = "rotation.rollback"
	RotationPurge    Action = "rotation.purge"
	RotationStatus   Action = "rotation.status" // plan, progress and receipts

	MediaVerify  Action = "media.verify" // keys are opened, and stay inside
	WorkerUnwrap Action = "worker.unwrap"

	AuditRead   Action = "audit.read"
	AuditVerify Action = "audit.verify"

	IdentityGrant  Action = "identity.grant"
	IdentityRevoke Action = "identity.revoke"
	IdentityList   Action = "identity.list"

	ApprovalRequest Action = "approval.request"
	ApprovalGrant   Action = "approval.grant" // or refuse
	ApprovalList    Action = "approval.list"

	MetricsRead Action = "metrics.read"
	QueueRead   Action = "queue.read"
	QueueAdmin  Action = "queue.admin"
	PolicyRun   Action = "policy.run"
)
