package access

import "strings"

// staff reads what is not secret.
const staff = Operator | Approver | Auditor

// table is who may do what. What stands in needsApproval is not done by the role
// alone.
var table = []struct {
	action Action
	roles  Role
}{
	{KeysImport, Operator},
	{KeysList, staff},
	{KeysShow, staff},
	{KeysExport, Operator},
	{KeysState, Operator},
	{KeysDestroy, Operator},
	{KeysBackup, Operator},
	{KeysRestore, Operator},

	{KEKList, staff},
	{KEKCreate, Operator},
	{KEKRotate, Operator},
	{KEKDisable, Operator},
	{KEKEnable, Operator},
	{KEKDestroy, Operator},

	{Scan, Operator},
	{Scope, staff},

	{RotationStart, Operator},
	{RotationInPlace, Operator},
	{RotationResume, Operator},
	{RotationPause, Operator},
	{RotationReplan, Operator},
	{RotationCancel, Operator},
	{RotationClean, Operator},
	{RotationRollback, Operator},
	{RotationPurge, Operator},
	{RotationStatus, staff},

	{MediaVerify, Operator | Auditor},
	{WorkerUnwrap, Worker},

	{AuditRead, Auditor},
	{AuditVerify, Auditor},

	{IdentityGrant, Admin},
	{IdentityRevoke, Admin},
	{IdentityList, Auditor | Admin},

	{ApprovalRequest, Operator},
	{ApprovalGrant, Approver},
	{ApprovalList, staff},

	{MetricsRead, staff},
	{QueueRead, staff},
	{QueueAdmin, Operator},
	{PolicyRun, Operator},
}

// needsApproval is what a second person releases, and which fields of its subject
// name what it is done to: one of them is set.
var needsApproval = map[Action][]string{
	KeysExport:      {"kid"},
	KeysDestroy:     {"kid"},
	KeysBackup:      {"digest"},
	KeysRestore:     {"digest"},
	KEKDestroy:      {"kek"},
	RotationPurge:   {"rotation"},
	RotationInPlace: {"rotation", "asset", "kid"},
}

// Actions lists every action, in the table's order.
func Actions() []Action {
	all := make([]Action, len(table))
	for i, row := range table {
		all[i] = row.action
	}
	return all
}

// Roles lists every role.
func Roles() []Role {
	all := make([]Role, len(roleNames))
	for i, n := range roleNames {
		all[i] = n.role
	}
	return all
}

// NeedsApproval reports whether a second person must release a.
func NeedsApproval(a Action) bool {
	_, ok := needsApproval[a]
	return ok
}

// Allows says in which of the roles r an action may be done, with a second person
// where it needs one. An action that is not in the table is nobody's.
func (r Role) Allows(a Action) (Role, bool) {
	for _, row := range table {
		if row.action == a {
			both := row.roles & r
			return both & -both, both != 0 // the first of them
		}
	}
	return 0, false
}

// Table is who may do what, in Markdown: yes; "asks" needs another person, who is
// an approver and "releases" it.
func Table() string {
	var b strings.Builder
	b.WriteString("| action |")
	for _, r := range Roles() {
		b.WriteString(" " + r.String() + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(roleNames)) + "\n")
	for _, row := range table {
		b.WriteString("| `" + string(row.action) + "` |")
		for _, r := range Roles() {
			b.WriteString(" " + cell(r, row.action, row.roles) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func cell(r Role, a Action, allowed Role) string {
	switch {
	case allowed&r != 0 && NeedsApproval(a):
		return "asks"
	case allowed&r != 0:
		return "yes"
	case r == Approver && NeedsApproval(a):
		return "releases"
	default:
		return ""
	}
}
