# OpenBao's own agent: one KV secret in a file, asked for every second.
vault {
  address = "@OPENBAO@"
}
auto_auth {
  method "token_file" {
    config = { token_file_path = "@TOKEN_FILE@" }
  }
}
template_config {
  static_secret_render_interval = "1s"
}
template {
  contents    = "{{ with secret \"secret/data/@NAME@\" }}{{ .Data.data.password }}{{ end }}"
  destination = "@TO@/password"
}
