variable "X" {
 type = number
 default = "abc"
}
target "default" {}
