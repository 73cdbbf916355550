"""Train a small Mixtral from local text on a processor, so that anyone can make another real router to look at."""
