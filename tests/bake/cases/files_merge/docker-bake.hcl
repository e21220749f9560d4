variable "V" { default = "one" }
target "default" {
  tags = ["hcl:${V}"]
  args = { a = "hcl", b = "hcl" }
}
