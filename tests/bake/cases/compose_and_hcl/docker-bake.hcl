target "web" {
  tags = ["hcl/web"]
  args = { x = "1" }
}
target "extra" { inherits = ["web"] }
