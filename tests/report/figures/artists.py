"""Artists of a drawn figure."""


def titled(figure, words):
    return next(axes for axes in figure.axes if words in axes.get_title())
