package audit

import (
	"fmt"
	"strings"
)

// Review says where in a review a record of an action may serve as evidence: it
// shows that something was done, by whom and when. That it was done well, and
// that the requirement applies at all, is for the reviewer to say; none of these
// texts is met by keeping a log.
type Review struct {
	Action string
	// FIPS140 is of FIPS 140-3, whose requirements are those of ISO/IEC 19790:2012.
	FIPS140 string
	// SP80057 is of NIST SP 800-57 part 1, revision 5.
	SP80057 string
	// SP800130 is the key management function as SP 800-130 §6.4 calls it.
	SP800130 string
	// GDPR is of Regulation (EU) 2016/679, where personal data is at stake.
	GDPR string
}

// What several actions have in common.
const (
	fipsGenerate = "7.9.3 SSP generation"
	fipsInOut    = "7.9.5 SSP entry and output"
	fipsStorage  = "7.9.6 SSP storage"
	fipsZeroise  = "7.9.7 SSP zeroisation"
	fipsRoles    = "7.4 roles, services and authentication"

	spStates   = "7 key states and transitions"
	spBackup   = "8.2.2 continuity of operations"
	spChange   = "8.2.3 key change"
	spDestroy  = "8.3.4 key destruction"
	spPhases   = "8.1.5 key establishment"
	spAccess   = "8.2.1 normal operational storage"
	gdprSecure = "Art. 32(1)(a) encryption, (b) confidentiality of systems"
	gdprRestor = "Art. 32(1)(c) restoring access in time"
	gdprPeople = "Art. 32(4) persons act on instructions"
	gdprBreach = "Art. 33(5) facts, effects and remedy of a breach"
)

// Reviews is the table, in the order in which the actions are listed.
func Reviews() []Review {
	return []Review{
		{KeyCreate, fipsGenerate, spPhases, "generate key", gdprSecure},
		{KeyImport, fipsInOut, spPhases, "enter key", gdprSecure},
		{KeyWrap, fipsStorage, spAccess, "store operational key", gdprSecure},
		{KeyUnwrap, fipsStorage, spAccess, "use of a stored key", gdprSecure},
		{KeyState, fipsRoles, spStates, "activate, deactivate, suspend, revoke key", gdprBreach},
		{KeyExport, fipsInOut, spAccess, "output key", gdprPeople},
		{KeyRefuse, fipsRoles, spStates, "access control of key management functions", gdprSecure},
		{KeyBackup, fipsInOut, spBackup, "backup key", gdprRestor},
		{KeyRestore, fipsInOut, spBackup, "recover key", gdprRestor},
		{KeyDestroy, fipsZeroise, spDestroy, "destroy key", gdprSecure},
		{KeyRewrap, fipsStorage, spChange, "store operational key", gdprSecure},
		{KEKCreate, fipsGenerate, spPhases, "generate key", gdprSecure},
		{KEKRotate, fipsStorage, spChange, "key update", gdprSecure},
		{KEKDisable, fipsRoles, spStates, "suspend key", gdprBreach},
		{KEKEnable, fipsRoles, spStates, "re-activate key", gdprSecure},
		{KEKDestroy, fipsZeroise, spDestroy, "destroy key", gdprSecure},
		{RoleGrant, fipsRoles, "", "access control of key management functions", gdprPeople},
		{RoleRevoke, fipsRoles, "", "access control of key management functions", gdprPeople},
		{RoleRefuse, fipsRoles, "", "access control of key management functions", gdprPeople},
		{ApprovalRequest, fipsRoles, "", "multiparty control", gdprPeople},
		{ApprovalGrant, fipsRoles, "", "multiparty control", gdprPeople},
		{ApprovalRefuse, fipsRoles, "", "multiparty control", gdprPeople},
		{ApprovalUse, fipsRoles, "", "multiparty control", gdprPeople},
		{MediaPublish, "", spChange, "", gdprBreach},
		{MediaPurge, "", "", "", gdprBreach},
		{MediaRollback, "", spChange, "", gdprBreach},
		{CPIXExchange, fipsInOut, spPhases, "establish key", gdprSecure},
	}
}

// reviewOf finds an action's row; an action that has none gets an empty one.
func reviewOf(action string) Review {
	for _, r := range Reviews() {
		if r.Action == action {
			return r
		}
	}
	return Review{Action: action}
}

// ReviewTable is the table in Markdown.
func ReviewTable() string {
	var b strings.Builder
	b.WriteString("| action | FIPS 140-3 (ISO/IEC 19790:2012) | SP 800-57 part 1 rev. 5 | SP 800-130 function | GDPR |\n|---|---|---|---|---|\n")
	for _, r := range Reviews() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Action, r.FIPS140, r.SP80057, r.SP800130, r.GDPR)
	}
	return b.String()
}
