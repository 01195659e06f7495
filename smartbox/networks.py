"""Keras networks to train: builders ``(image_shape, n_classes) -> keras.Model`` that end in logits."""


def paper_network(image_shape, n_classes):
    """The face network of the SmartBox paper.

    Two convolutions of 16 filters, pooling, one of 32, pooling, one of 32, pooling, then dense layers of 100
    (with 50 % dropout), 100 and 1024 units and the logits. The paper names no activation, padding or initial
    weights: ReLU, none ("valid") and He's for ReLU are ours.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; at least 24 x 24 pixels are left something to pool.
    n_classes : int
        Number of identities.

    Returns
    -------
    network : keras.Model
        Untrained; images ``(n, height, width, channels)`` in [0, 1] to logits ``(n, n_classes)``.

    Raises
    ------
    ValueError
        If the image is too small for three poolings.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation
       Algorithms for Face Recognition", BTAS 2018, section 3.

    Examples
    --------
    >>> from smartbox.networks import paper_network
    >>> paper_network((96, 84, 1), 38).count_params()
    424942
    """
    import keras
    from keras import layers

    if min(image_shape[:2]) < 24:
        raise ValueError(
            f"the paper's network needs images of at least 24 x 24 pixels, got {image_shape[0]} x "
            f"{image_shape[1]}: use larger images, or a network builder of your own."
        )
    # With Glorot's initial weights the signal shrinks layer by layer, and SGD at times stays at chance for
    # twenty epochs.
    relu = {"activation": "relu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(16, 3, name="conv1", **relu),
            layers.Conv2D(16, 3, name="conv2", **relu),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(32, 3, name="conv3", **relu),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Conv2D(32, 3, name="conv4", **relu),
            layers.MaxPooling2D(2, name="pool3"),
            layers.Flatten(name="flatten"),
            layers.Dense(100, name="dense1", **relu),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(100, name="dense2", **relu),
            layers.Dense(1024, name="dense3", **relu),
            layers.Dense(n_classes, name="logits"),
        ],
        name="paper",
    )


def denoising_network(image_shape):
    """A convolutional autoencoder: what it takes off an image is made at full, half and quarter size.

    Convolutions of 16, 32 and 32 filters with pooling in between, and the same way back with upsampling, where each size joins
    the maps of the way there. The last layer gives what is to be subtracted from the image, at first nothing: the network
    begins as the identity. Heights and widths that are no multiples of 4 are filled up with black at the bottom and the right,
    and cut again.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``.

    Returns
    -------
    network : keras.Model
        Untrained; images in [0, 1] to images, which may leave [0, 1] a little.

    References
    ----------
    .. [1] Vincent, Larochelle, Lajoie, Bengio, Manzagol. "Stacked Denoising Autoencoders", JMLR 11, 2010.
    .. [2] Liao, Liang, Dong, Pang, Hu, Zhu. "Defense Against Adversarial Attacks Using High-Level Representation Guided
       Denoiser", CVPR 2018, section 4.1 (the joined maps and the subtraction).

    Examples
    --------
    >>> from smartbox.networks import denoising_network
    >>> denoising_network((33, 28, 1)).output_shape
    (None, 33, 28, 1)
    """
    import keras
    from keras import layers

    height, width, channels = image_shape
    missing = ((0, -height % 4), (0, -width % 4))

    def convolve(filters, name, *maps):
        joined = layers.Concatenate(name=f"{name}_joined")(maps) if len(maps) > 1 else maps[0]
        return layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )(joined)  # fmt: skip

    image = keras.Input(image_shape, name="image")
    full = convolve(16, "conv1", layers.ZeroPadding2D(missing, name="fill")(image))
    half = convolve(32, "conv2", layers.MaxPooling2D(2, name="pool1")(full))
    quarter = convolve(32, "conv3", layers.MaxPooling2D(2, name="pool2")(half))
    half = convolve(32, "conv4", layers.UpSampling2D(2, name="up1")(quarter), half)
    joined = layers.Concatenate(name="noise_joined")([layers.UpSampling2D(2, name="up2")(half), full])
    noise = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros", name="noise")(joined)
    clean = layers.Subtract(name="clean")([image, layers.Cropping2D(missing, name="cut")(noise)])
    return keras.Model(image, clean, name="denoising")


NETWORKS = {"paper": paper_network}
