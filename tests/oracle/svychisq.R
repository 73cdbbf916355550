# What R's survey package prints for the tables in svychisq.json: Rscript svychisq.R > svychisq.json
# One row of the design is one token, one cluster is one document, and every token weighs the same.
suppressMessages(library(survey))

# Counts below `top`, by the congruential generator of Park and Miller: the same on every machine.
counts <- function(n, seed, top) {
  state <- seed
  sapply(seq_len(n), function(i) { state <<- (16807 * state) %% 2147483647; state %% top })
}

# table: the counts of the clusters one after another, each row by row (target fastest).
cases <- list(
  two_by_two = list(shape = c(6, 2, 2), table = c(
    8, 2, 3, 5,   4, 4, 2, 6,   9, 1, 4, 2,   3, 3, 3, 7,   6, 5, 1, 4,   2, 2, 5, 5)),
  three_by_four = list(shape = c(9, 3, 4), table = counts(108, 1, 11)),
  five_by_five = list(shape = c(24, 5, 5), table = counts(600, 2, 7)),
  unequal = list(shape = c(10, 3, 3),
                 table = counts(90, 3, 5) * rep(c(1, 1, 2, 3, 5, 8, 13, 21, 34, 55), each = 9)),
  empty_cells = list(shape = c(8, 3, 3),
                     table = counts(72, 4, 6) * rep(c(1, 0, 1, 1, 1, 0, 1, 1, 1), 8)),
  dependent = list(shape = c(12, 4, 2), table = rep(c(9, 1, 7, 2, 3, 6, 2, 8), 12) + counts(96, 5, 6))
)

tokens <- function(case) {
  cells <- expand.grid(target = seq_len(case$shape[3]), source = seq_len(case$shape[2]),
                       document = seq_len(case$shape[1]))
  cells[rep(seq_len(nrow(cells)), case$table), ]
}

digits <- function(x) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]")

printed <- function(name) {
  design <- svydesign(ids = ~document, weights = ~1, data = tokens(cases[[name]]))
  figures <- sapply(c("F", "Chisq"), function(statistic) {
    test <- svychisq(~source + target, design, statistic = statistic)
    sprintf("    \"%s\": %s", statistic, digits(c(test$statistic, test$parameter, test$p.value)))
  })
  paste0("  \"", name, "\": {\n    \"shape\": ", digits(cases[[name]]$shape), ",\n    \"table\": ",
         digits(cases[[name]]$table), ",\n", paste(figures, collapse = ",\n"), "\n  }")
}

cat("{\n  \"_\": \"R ", R.version$major, ".", R.version$minor, ", survey ",
    as.character(packageVersion("survey")), "; each statistic, its degrees of freedom, its p-value\",\n", sep = "")
cat(paste(sapply(names(cases), printed), collapse = ",\n"), "\n}\n", sep = "")
