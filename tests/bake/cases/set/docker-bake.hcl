group "default" { targets = ["web"] }
target "web" {
  tags = ["orig"]
  args = { X = "0" }
  cache-from = ["r/base"]
  secret = ["id=s,src=s"]
}
target "db" {}
