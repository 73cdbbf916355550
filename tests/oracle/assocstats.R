# What R's vcd package and chisq.test print for the tables in assocstats.json: Rscript assocstats.R > assocstats.json
suppressMessages(library(vcd))

# Each table row by row (target fastest).
cases <- list(
  arthritis = list(shape = c(2, 3), table = c(29, 7, 7, 13, 7, 21)),
  fair_square = list(shape = c(2, 2), table = c(8, 2, 6, 4)),
  with_zeros = list(shape = c(3, 4), table = c(5, 0, 12, 3, 9, 4, 0, 1, 2, 8, 6, 30)),
  nearly_determined = list(shape = c(3, 3), table = c(900, 3, 1, 2, 700, 5, 4, 1, 1200)),
  hardly_dependent = list(shape = c(4, 3), table = c(40, 61, 99, 19, 32, 50, 81, 120, 201, 10, 14, 26))
)

digits <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")

printed <- function(name) {
  case <- cases[[name]]
  table <- matrix(case$table, case$shape[1], byrow = TRUE)
  stats <- assocstats(as.table(table))
  pearson <- suppressWarnings(chisq.test(table, correct = FALSE))
  # assocstats takes 1 - pchisq, which keeps six digits of a p-value of 1e-10.
  tests <- stats$chisq_tests
  tests[, 3] <- pchisq(tests[, 1], tests[, 2], lower.tail = FALSE)
  lines <- c(
    shape = digits(case$shape), table = digits(case$table),
    likelihood_ratio = digits(tests["Likelihood Ratio", ]),
    pearson = digits(tests["Pearson", ]),
    cramer = digits(stats$cramer),
    expected = digits(t(pearson$expected)),
    residuals = digits(t(pearson$residuals)),
    stdres = digits(t(pearson$stdres))
  )
  paste0("  \"", name, "\": {\n", paste0("    \"", names(lines), "\": ", lines, collapse = ",\n"), "\n  }")
}

cat("{\n  \"_\": \"R ", R.version$major, ".", R.version$minor, ", vcd ", as.character(packageVersion("vcd")),
    "; tests as statistic, degrees of freedom, p\",\n", sep = "")
cat(paste(sapply(names(cases), printed), collapse = ",\n"), "\n}\n", sep = "")
