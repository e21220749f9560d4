variable "L" {
  type = list(string)
  default = ["d"]
}
variable "N" {
  type = number
  default = 4
}
variable "M" {
  type = map(number)
  default = {}
}
variable "T" {
  type = tuple([string, number])
  default = ["t", 1]
}
variable "O" {
  type = object({a = string, b = number})
  default = { a = "a", b = 1 }
}
variable "NONE" { type = string }
target "default" {
  tags = L
  args = merge({ n = N, t0 = T[0], t1 = T[1], oa = O.a, ob = O.b }, M)
}
