variable "X" {
  default = "good"
  validation {
    condition = X != "bad"
    error_message = "X must not be bad"
  }
  validation {
    condition = length(regexall("^[a-z]+$", X)) == 1
    error_message = "letters only"
  }
}
target "default" { tags = [X] }
