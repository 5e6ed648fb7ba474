# Sees how KEKs stand, and nothing else.
# The engine is taken to be at transit/; write its path if it is another:
#   sed s,transit/,PATH/, auditor.hcl | vault policy write rekey-auditor -

path "transit/keys/+" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
