target "default" {
  args = {
    a = cidrhost("10.12.112.0/20", 16)
    b = cidrhost("10.12.112.0/20", -1)
    c = cidrnetmask("172.16.0.0/12")
    d = cidrsubnet("172.16.0.0/12", 4, 2)
    e = jsonencode(cidrsubnets("10.1.0.0/16", 4, 4, 8, 4))
    f = cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162)
    g = cidrhost("fd00:fd12:3456:7890:00a2::/72", 34)
  }
}
