# The second person: schedules the destruction of a KEK that an operator has
# switched off, and destroys it after its date. Can neither switch it off nor
# decrypt; encrypting a probe shows that it is off. Vault cannot hold a deletion to
# a date: this policy could delete a KEK at once.
# The engine is taken to be at transit/; write its path if it is another:
#   sed s,transit/,PATH/, approver.hcl | vault policy write rekey-approver -

path "transit/keys/+" {
  capabilities = ["read", "delete"]
}

path "transit/keys/+/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "deletion_allowed" = []
  }
}

# Makes markers, and takes none away.
path "transit/keys/rekey-destroy.*" {
  capabilities = ["read", "update"]
  allowed_parameters = {
    "auto_rotate_period" = []
    "type" = ["aes256-gcm96"]
  }
}

path "transit/encrypt/+" {
  capabilities = ["update"]
  allowed_parameters = {
    "associated_data" = ["cHVycG9zZT1yZWtleSBwcm9iZQo="]
    "convergent_encryption" = []
    "key_version" = []
    "plaintext" = ["cmVrZXkgcHJvYmUgdGV4dA=="]
  }
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
