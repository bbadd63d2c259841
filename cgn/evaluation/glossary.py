"""What the columns of the tables mean, said once for every page that shows them."""

Terms = tuple[tuple[str, str], ...]  # what a column is called, and its meaning

RESULTS: Terms = (
    (
        "Learns from",
        "what kind of images teach it: rows of different kinds are given different data and are no rivals, and a user with a fully "
        "biased data set can only have biased images and generated ones",
    ),
    ("real share", "real images among those the classifier saw"),
    (
        "train",
        "accuracy on biased training images; the oracle knows their digits in other colours, and “counterfactuals only” of a CGN "
        "that infers masks knows their shapes and the colours of their plain layers",
    ),
    ("test", "accuracy on new digits with random colours or textures"),
    (
        "paper's test split",
        "the same on other digits, MNIST's train[50000:], which the paper's figures are of; at a scale without this column they stand "
        "beside other digits than theirs",
    ),
    (
        "says texture, says background",
        "how often, on test images, the classifier's answer is the texture's or the background's class; chance is 10, and "
        "more means a shortcut",
    ),
    ("low contrast", "test images whose digit and background come from one palette entry, about one in ten"),
    ("distinct", "all other test images"),
    ("worst class", "the lowest accuracy of one class of the test images"),
    ("ECE", "expected calibration error there: how far the classifier's confidence is from its accuracy, in 15 bins"),
)
STABILITY: Terms = (
    ("90 % and so on", "accuracy on the class where every cue agrees with it so often: training digits, coloured anew"),
    ("test", "the same on new digits whose cues are random; it is lower for that reason too"),
    ("tells", "the factor that the classifier was taught"),
    ("span", "highest minus lowest over the environments, seed by seed"),
)
QUALITY: Terms = (
    (
        "Shape, texture, background seen",
        "how often a judge, a classifier of that true factor which serves these tables alone, sees the class that was asked "
        "for; judges learned from the unbiased training images, and so know their digits, whose shapes the counterfactuals of "
        "a CGN that infers masks keep: not a measure against new digits",
    ),
    (
        "texture = shape",
        "how often the judges see one class in both; 10 is chance, more means that they are tangled",
    ),
    ("composition", "difference of two drawings of one noise: 0 for any network that computes the same each time"),
    (
        "moves alone, alone",
        "share of the change that falls where the changed factor is; 100 by construction where masks are hard",
    ),
    (
        "FID",
        "no percentage: Fréchet distance to test images in the shape judge's features, which know the unbiased training images by "
        "heart; to compare within a data set alone",
    ),
    ("shape FID", "the same of masks, to the outlines of real digits"),
    ("diversity", "how much masks of one class differ, in percent of how much real digits do"),
    ("mask IoU, worst class", "overlap of masks with the nearest real digit, up to inversion"),
    (
        "inferred masks' IoU, their worst class",
        "overlap of the masks inferred from training images with these images' own digits",
    ),
    ("attempts", "trainings until the masks had not collapsed, without a look at the truth"),
)
QUALITY_NOTE = (
    "Of 2,000 images, or all test images: “seen”, “texture = shape” and FID of counterfactuals as classifiers get them; "
    "composition, “alone”, shape FID, diversity and mask IoU of images and masks drawn from noise, their layers as the generator "
    "draws them, plain or not. A dash: the images have no such part."
)
EXPLAINED: Terms = (
    (
        "On the digit",
        "share of the attribution to the class that the classifier says which falls on the digit's true outline, ± its standard "
        "error over test images, of classifiers of the first seed: 1,000 images for Grad-CAM, less those to which it attributes "
        "nothing, 100 for integrated gradients, 10, one per class, for LIME; the first row is the share of the image that the digit "
        "covers. Integrated gradients and LIME start "
        "from an image that shows nothing: grey, or on colored MNIST black, its background, so that there all of the former falls on "
        "what is drawn, whichever classifier it is of",
    ),
    ("features by", "share of the features' variance that lies between the classes of a factor"),
)
SWEEP: Terms = (
    ("Of them seen", "different counterfactuals that the classifier sees: every cell's takes the same number of steps"),
    ("of one shape", "how many counterfactuals share a shape"),
    (
        "different shapes",
        "no more than there are training images, whose shapes these are, unless `generator.cgn.shapes` says `drawn`",
    ),
)
ABLATION: Terms = (
    ("Test", "accuracy of a classifier taught by these counterfactuals alone"),
    (
        "mask mean, decided, border",
        "of masks drawn from noise: mean, share of decided pixels, mean at the worst class's border",
    ),
    ("within a class, between classes", "how much masks of the least diverse class and of two classes differ"),
    ("roughness", "how much neighbouring pixels of the roughest class differ"),
    ("mask IoU, worst class", "overlap with the nearest real digit, up to inversion"),
    (
        "collapsed",
        "seeds that the limits in `params.yaml` would have refused; a cell is the first attempt, never a later one, "
        "also where nothing is changed",
    ),
)
