group "default" {
  description = "All"
  targets = ["web", "_hidden"]
}
target "web" { description = "The web" }
target "_hidden" {}
variable "A_LONG_NAME_OF_A_VARIABLE" {
  type = list(string)
  default = ["x"]
  description = "d"
}
variable "B" { type = number }
variable "C" { default = "a<b" }
