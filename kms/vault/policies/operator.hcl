# Makes KEKs, switches them off and on, and calls back a destruction; cannot
# schedule one. Encrypting and decrypting are held to the probe that shows a KEK
# is off: with its associated_data ("purpose=rekey probe") or none, no content key
# opens.
# The engine is taken to be at transit/; write its path if it is another:
#   sed s,transit/,PATH/, operator.hcl | vault policy write rekey-operator -

path "transit/keys/+" {
  capabilities = ["read", "update"]
  allowed_parameters = {
    "type" = ["aes256-gcm96"]
  }
}

path "transit/keys/+/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
    "min_encryption_version" = []
  }
}

path "transit/keys/+/rotate" {
  capabilities = ["update"]
}

# Takes markers away.
path "transit/keys/rekey-destroy.*" {
  capabilities = ["read", "update", "delete"]
  allowed_parameters = {
    "deletion_allowed" = []
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

path "transit/decrypt/+" {
  capabilities = ["update"]
  allowed_parameters = {
    "associated_data" = ["cHVycG9zZT1yZWtleSBwcm9iZQo="]
    "ciphertext" = []
  }
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
