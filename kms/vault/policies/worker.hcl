# Wraps and unwraps content keys, and sees whether a KEK is off. Without create,
# encrypt makes no key that is not there.
# The engine is taken to be at transit/; write its path if it is another:
#   sed s,transit/,PATH/, worker.hcl | vault policy write rekey-worker -

path "transit/encrypt/+" {
  capabilities = ["update"]
  allowed_parameters = {
    "associated_data" = []
    "convergent_encryption" = []
    "key_version" = []
    "plaintext" = []
  }
}

path "transit/decrypt/+" {
  capabilities = ["update"]
  allowed_parameters = {
    "associated_data" = []
    "ciphertext" = []
  }
}

path "transit/keys/+" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
